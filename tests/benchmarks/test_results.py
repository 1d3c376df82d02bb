"""Committed results keep their form, and the README says what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from result_file import RESULTS, ResultFile
from tables import README, TABLES, rendered

from artoolkit.measure.records import read_record

FILES = sorted(RESULTS.glob("*.json"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_a_result_file_is_whole_and_named_after_what_it_holds(path: Path) -> None:
    result = read_record(path, ResultFile)
    assert path.name == result.file_name
    assert result.raw
    assert result.command


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_a_result_file_names_no_place_of_the_machine_it_was_made_on(path: Path) -> None:
    assert not re.search(r'"(/|~|[A-Z]:\\)\w+/', path.read_text())


def test_the_readme_shows_what_the_result_files_say() -> None:
    text = README.read_text()
    assert set(re.findall(r"<!-- table: ([\w-]+) -->", text)) == set(TABLES)
    assert rendered(text) == text
