"""No kind of file is opened by two roads with different guards: the table of CONTRIBUTING holds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "artoolkit"


def table() -> list[tuple[str, frozenset[str], tuple[str, ...]]]:
    """Kind of file, the modules that may open it, and what opens it."""
    text = (ROOT / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.partition("## Who reads what\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return [
        (kind.strip(), frozenset(re.findall(r"`([\w/]+\.py)`:", who)), tuple(
            re.findall(r"`([^`]+)`", calls)))
        for kind, who, calls in rows[1:]
    ]  # fmt: skip


def opened_in(call: str) -> set[str]:
    """The modules whose code, strings and comments aside, holds the call."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for line in path.read_text(encoding="utf-8").splitlines():
            code = line.partition("#")[0]
            if call in code and not code.strip().startswith(("SUGGESTION", "hint=")):
                found.add(path.relative_to(PACKAGE).as_posix())
    return found


def test_the_table_is_read() -> None:
    assert len(table()) >= 10
    assert all(modules and calls for _, modules, calls in table())


@pytest.mark.parametrize(("kind", "modules", "calls"), table(), ids=[row[0] for row in table()])
def test_a_kind_of_file_is_opened_in_one_place(
    kind: str, modules: frozenset[str], calls: tuple[str, ...]
) -> None:
    opening = set().union(*map(opened_in, calls))
    assert opening, f"nothing opens {kind} any more: correct the table"
    assert opening <= modules, f"{kind} is opened in {sorted(opening - modules)} as well"
