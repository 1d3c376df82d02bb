"""A check of somebody else's: one object in a package of its own, and one line in the list."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from judged import judged_bundle, without_rtx

from artoolkit.checks import memory
from artoolkit.checks.registry import CHECKS
from artoolkit.cli import main

PACKAGE = """
from typing import ClassVar

from artoolkit.checks.kind import CheckKind
from artoolkit.evidence.verdict import Check, PairRecord


class NameMeasurement(PairRecord):
    KIND: ClassVar[str] = "name"

    letters: tuple[int, int]


def measure(pair):
    letters = [len(side.path.name) for side in pair.sides]
    return {"name.json": pair.record(NameMeasurement, letters=letters)}


def judge(records, terms):
    one, other = records["name.json"].letters
    return Check(
        name="name",
        result="PASS" if other <= one else "FAIL",
        headline=f"{one} letters, then {other}",
        details=("counted by hand",),
        numbers={"letters": [one, other]},
    )


CHECK = CheckKind(
    name="name",
    question="Is the folder's name no longer than the baseline's?",
    records={"name.json": NameMeasurement},
    measure=measure,
    judge=judge,
)
"""
QUICK = ("--blocks", "4", "--budget-s", "1", "--warmup-ms", "1")


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A judged bundle, and the check in the list."""
    folder = tmp_path / "letters"
    folder.mkdir()
    (folder / "__init__.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(str(tmp_path))
    check = importlib.import_module("letters").CHECK
    CHECKS.append(check)
    without_rtx(monkeypatch)
    monkeypatch.setattr(memory, "process_memory", lambda *path, **how: None)
    yield judged_bundle(tmp_path / "made").path
    CHECKS.remove(check)
    del sys.modules["letters"]


def shown(*arguments: object) -> str:
    answer = CliRunner(env={"COLUMNS": "160"}).invoke(main, [*map(str, arguments)])
    assert answer.exception is None or isinstance(answer.exception, SystemExit), answer.output
    return answer.stdout


def test_it_shows_in_compare_verify_json_and_html(bundle: Path, tmp_path: Path) -> None:
    assert "8 letters, then 6" in shown("compare", bundle, *QUICK, "--out", tmp_path / "out")
    assert "counted by hand" in shown("compare", bundle, *QUICK, "--verbose")
    values = json.loads(shown("compare", bundle, *QUICK, "--json"))
    row = values["checks"][-1]
    assert (row["name"], row["result"], row["required"]) == ("name", "PASS", True)
    assert "name.json" in values["measurements"]
    assert (tmp_path / "out" / "name.json").is_file()

    assert "name PASS: judged again from its measurements" in shown("verify", bundle)
    evidence = json.loads(shown("verify", bundle, "--json"))[1]
    assert "name PASS: judged again from its measurements" in evidence["details"]

    page, content = tmp_path / "r.html", tmp_path / "r.json"
    shown("report", bundle, "--out", page, "--json", content)
    assert "8 letters, then 6" in page.read_text()
    assert "counted by hand" in page.read_text()
    checks = json.loads(content.read_text())["bundles"][0]["verdict"]["checks"]
    assert checks[-1]["numbers"] == {"letters": [8, 6]}


def test_the_readme_asks_what_the_checks_ask() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    head, _, rest = readme.partition("| check | question |\n|---|---|\n")
    assert head != readme
    assert rest.partition("\n\n")[0].splitlines() == [
        f"| {kind.name} | {kind.question} |" for kind in CHECKS
    ]
