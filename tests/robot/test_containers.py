"""The Dockerfiles copy what exists, pin their base, and install what the package declares."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parent.parent.parent
FILES = sorted((ROOT / "export" / "containers").glob("*.Dockerfile"))


def test_there_is_one_for_each_kind_of_machine():
    names = [file.name.removesuffix(".Dockerfile") for file in FILES]
    assert names == ["demo", "jetpack6", "jetpack7", "workstation", "x86-gpu"]
    readme = (FILES[0].parent / "README.md").read_text()
    assert all(f"`{file.name}`" in readme for file in FILES)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_sources_exist_bases_are_pinned_and_extras_are_declared(file):
    text = file.read_text().replace("\\\n", " ")
    constraints = (ROOT / "constraints.txt").read_text()
    (base,) = re.findall(r"^FROM (\S+)$", text, re.MULTILINE)
    assert ":" in base and not base.endswith(":latest")
    for line in re.findall(r"^COPY (.+)$", text, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
    declared = (ROOT / "pyproject.toml").read_text()
    for extras in re.findall(r'"\.\[([\w,]+)\]"', text):
        assert all(f"\n{extra} = [" in declared for extra in extras.split(","))
    # What is asked for by a version is not pinned to another one.
    pinned = dict(re.findall(r"^([\w-]+)==([\w.]+)$", constraints, re.MULTILINE))
    dropped = re.findall(r"sed -i '/\^([\w-]+)/d' constraints.txt", text)
    for name, asked in re.findall(r'"([\w-]+)([<>=!~][^"]*)"', text):
        assert name in dropped or pinned.get(name, "0") in SpecifierSet(asked), name
    assert text.rstrip().endswith('ENTRYPOINT ["artoolkit"]')
