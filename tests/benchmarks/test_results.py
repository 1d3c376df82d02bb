"""Committed results keep their form, and README and docs say what they say."""

from __future__ import annotations

import re
from pathlib import Path

import camvid_networks
import click
import pytest
import result_file
import tables
from click.testing import CliRunner
from result_file import RESULTS, ResultFile, write_result
from tables import PLOTS, TABLES, Plot, marks, pages, read, rendered, stale

from artoolkit.evidence.records import read_record

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


def test_every_page_and_plot_shows_what_the_result_files_say() -> None:
    assert [path.name for path in stale()] == []


def test_every_table_that_was_measured_is_in_a_page_and_no_other() -> None:
    shown = {name for page in pages() for name in marks(page.read_text())}
    assert shown == {name for name, table in TABLES.items() if table.measured()}


@pytest.mark.parametrize("plot", PLOTS, ids=lambda plot: plot.file)
def test_every_plot_that_was_measured_is_in_a_page(plot: Plot) -> None:
    if all(map(read, plot.suites)):
        assert any(plot.file in page.read_text() for page in pages())


def test_a_table_is_made_between_its_marks_and_nothing_else_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_file, "RESULTS", tmp_path)
    monkeypatch.setattr(camvid_networks, "table", lambda raw: [f"found {raw['a']}"])
    page = "before <!-- table: camvid-networks -->\nold\n<!-- end --> after"
    with pytest.raises(click.UsageError, match="was not measured"):
        rendered(page)
    write_result("camvid-networks", machine="m", device="cpu", settings={}, raw={"a": 1})
    fresh = "before <!-- table: camvid-networks -->\nfound 1\n<!-- end --> after"
    assert rendered(page) == rendered(fresh) == fresh
    write_result("camvid-networks", machine="n", device="gpu", settings={}, raw={"a": 2})
    assert "m, cpu:\n\nfound 1\n\nn, gpu:\n\nfound 2\n<!-- end -->" in rendered(page)


def test_a_suite_of_which_nothing_could_run_was_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_file, "RESULTS", tmp_path)
    raw = {"a": {"unavailable": "no GPU"}, "b": {"unavailable": "no GPU"}}
    write_result("latency", machine="m", device="cpu", settings={}, raw=raw)
    assert read("latency") == []
    write_result("latency", machine="m", device="cpu", settings={}, raw=raw | {"c": {"s": 1}})
    assert [result["machine"] for result in read("latency")] == ["m"]


def test_a_table_of_another_name_is_refused() -> None:
    with pytest.raises(click.UsageError, match="no table is called other"):
        rendered("<!-- table: other -->\n<!-- end -->")


def test_a_plot_whose_suite_was_not_measured_is_not_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_file, "RESULTS", tmp_path)
    assert [plot.svg() for plot in PLOTS] == [None] * len(PLOTS)


def test_check_only_says_what_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- table: camvid-networks -->\n<!-- end -->\n")
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    monkeypatch.setattr(tables, "pages", lambda: [page])
    monkeypatch.setattr(tables, "PLOTS", ())
    told = CliRunner().invoke(tables.main, ["--check"])
    assert (told.exit_code, told.output) == (1, "page.md\n")
    assert "icnet" not in page.read_text()
    assert CliRunner().invoke(tables.main, []).exit_code == 0
    assert "| `icnet` |" in page.read_text()
    assert CliRunner().invoke(tables.main, ["--check"]).exit_code == 0
