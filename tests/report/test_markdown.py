"""The report outside a browser: a comment, a badge and JUnit XML."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from artoolkit.cli import main
from artoolkit.evaluation.bootstrap import ClassChange
from artoolkit.evidence.verdict import Check
from artoolkit.report.content import ReportContent
from artoolkit.report.junit import junit_of
from artoolkit.report.markdown import as_badge, as_markdown
from artoolkit.statistics import Interval


def test_a_comment_says_the_answer_the_numbers_and_the_machine_first(
    content: ReportContent,
) -> None:
    text = as_markdown(content)
    verdict = content.bundles[0].verdict
    assert verdict is not None
    assert text.startswith(f"### bundle: {verdict.result}\n\n")
    shown, folded = text.split("<details>")
    assert verdict.environment.processor in shown
    assert "| accuracy |" in shown
    assert "| graph |" not in shown
    assert "| graph |" in folded
    assert "| program (TensorRT-RTX) (not required) | UNAVAILABLE |" in folded
    assert "| control | 50.00 |" in text


def test_a_comment_lists_the_classes_that_changed(content: ReportContent) -> None:
    part = content.bundles[0]
    assert part.accuracy is not None
    changes = [
        ClassChange(name=name, baseline=50, candidate=50 + low, falls=low + 2 < 0,
                    difference=Interval(estimate=low + 1, low=low, high=low + 2, level=0.95))
        for name, low in (("car", 1), ("road", -1), ("a|b", -5))
    ]  # fmt: skip
    accuracy = part.accuracy.model_copy(update={"classes": tuple(changes)})
    changed = part.model_copy(update={"accuracy": accuracy})
    text = as_markdown(content.model_copy(update={"bundles": (changed,)}))
    assert "| car | 50.0 -> 51.0 | +2.0 (+1.0 to +3.0) |" in text
    assert "| a\\|b | 50.0 -> 45.0 | -4.0 (-5.0 to -3.0) |" in text
    assert "| road |" not in text


def test_a_badge_says_the_answer(content: ReportContent) -> None:
    root = ElementTree.fromstring(as_badge(content))
    verdict = content.bundles[0].verdict
    assert verdict is not None
    assert f"artoolkit: {verdict.result}, mIoU " in root.attrib["aria-label"]
    empty = as_badge(content.model_copy(update={"bundles": ()}))
    assert "no verdict" in empty


@pytest.mark.parametrize(
    ("result", "required", "kind"),
    [
        ("PASS", True, None),
        ("FAIL", True, "failure"),
        ("UNDECIDED", True, "error"),
        ("UNAVAILABLE", True, "error"),
        ("FAIL", False, "skipped"),
    ],
)
def test_junit_has_a_case_for_each_check(result: str, required: bool, kind: str | None) -> None:
    check = Check(name="c", result=result, headline="h <&> \x1b", required=required)
    root = ElementTree.fromstring(junit_of({"suite \ufffe": [check]}))
    (suite,) = root
    counts = {name: suite.attrib[name] for name in ("failures", "errors", "skipped")}
    ones = {"failure": "failures", "error": "errors", "skipped": "skipped"}
    assert counts == {name: str(int(ones.get(kind) == name)) for name in counts}
    (case,) = suite
    assert [one.tag for one in case][1:] == ([kind] if kind else [])
    assert case.findtext("system-out") == "h <&> ?"


def test_the_report_writes_them_without_a_page(paths: tuple[Path, ...], tmp_path: Path) -> None:
    files = {flag: tmp_path / flag for flag in ("markdown", "badge", "junit")}
    options = [part for flag, path in files.items() for part in (f"--{flag}", str(path))]
    answer = CliRunner().invoke(main, ["report", str(paths[0]), *options])
    assert answer.exit_code == 0, answer.output
    assert all(path.stat().st_size for path in files.values())
    nothing = CliRunner().invoke(main, ["report", str(paths[0])])
    assert nothing.exit_code == 2


def test_verify_and_compare_write_junit(paths: tuple[Path, ...], tmp_path: Path) -> None:
    out = tmp_path / "verify.xml"
    answer = CliRunner().invoke(main, ["verify", str(paths[0]), "--junit", str(out), "--json"])
    (suite,) = ElementTree.parse(out).getroot()
    assert {case.attrib["name"] for case in suite} >= {"files", "golden replay"}
    wrong = suite.attrib["failures"] != "0", suite.attrib["errors"] != "0"
    assert answer.exit_code == (1 if wrong[0] else 3 if wrong[1] else 0)
