"""The Dockerfiles copy what exists, pin their base, and install what the package declares."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
FILES = sorted((ROOT / "export" / "containers").glob("*.Dockerfile"))


def test_there_is_one_for_the_workstation_and_one_for_a_jetson():
    assert [file.name for file in FILES] == ["jetson.Dockerfile", "workstation.Dockerfile"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_sources_exist_bases_are_pinned_and_extras_are_declared(file):
    text = file.read_text().replace("\\\n", " ")
    (base,) = re.findall(r"^FROM (\S+)$", text, re.MULTILINE)
    assert ":" in base and not base.endswith(":latest")
    for line in re.findall(r"^COPY (.+)$", text, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
    declared = (ROOT / "pyproject.toml").read_text()
    for extras in re.findall(r'"\.\[([\w,]+)\]"', text):
        assert all(f"\n{extra} = [" in declared for extra in extras.split(","))
    assert text.rstrip().endswith('ENTRYPOINT ["artoolkit"]')
