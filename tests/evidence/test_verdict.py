"""What checks amount to, and that a verdict cannot say otherwise."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from artoolkit.evidence.verdict import (
    Check,
    Result,
    Subject,
    Verdict,
    decide,
    in_brief,
    meaning,
    overall,
)


def check(name: str, result: Result, *, required: bool = True) -> Check:
    return Check(name=name, result=result, headline="", required=required)


def verdict(*checks: Check) -> Verdict:
    a, b = Subject(name="a", sha256="0" * 64), Subject(name="b", sha256="1" * 64)
    return decide(checks, baseline=a, candidate=b, target={"name": "cpu"})


@pytest.mark.parametrize(
    ("results", "answer", "code"),
    [
        (["PASS", "PASS"], "PASS", 0),
        (["PASS", "FAIL", "UNDECIDED"], "FAIL", 1),
        (["PASS", "UNDECIDED"], "UNDECIDED", 3),
        (["PASS", "UNAVAILABLE"], "UNDECIDED", 3),
        ([], "UNDECIDED", 3),
    ],
)
def test_the_worst_required_check_decides(results: list[Result], answer: str, code: int) -> None:
    result = verdict(*(check(f"check {i}", r) for i, r in enumerate(results)))
    assert (result.result, result.exit_code) == (answer, code)


@pytest.mark.parametrize("result", ["FAIL", "UNDECIDED", "UNAVAILABLE"])
def test_what_is_not_required_decides_nothing(result: Result) -> None:
    checks = (check("graph", "PASS"), check("program", result, required=False))
    assert overall(checks) == "PASS"
    assert overall(checks[1:]) == "UNDECIDED"


def test_the_meaning_names_what_fails_or_is_open() -> None:
    everything = [check(n, "PASS") for n in ("graph", "memory", "latency", "accuracy")]
    assert "can replace the baseline" in meaning(everything)
    assert meaning(everything[:2]) == "Every required check holds: graph, memory."
    failed = [*everything, check("outputs", "FAIL")]
    assert meaning(failed).endswith("outputs does not hold.")
    assert "graph, outputs do not hold" in meaning([check("graph", "FAIL"), *failed[1:]])
    left = [*everything[:3], check("accuracy", "UNAVAILABLE")]
    assert "accuracy could not be decided here" in meaning(left)
    assert "No check was required" in meaning([check("program", "PASS", required=False)])


def test_a_headline_is_one_row_and_what_is_longer_stands_below() -> None:
    with pytest.raises(ValidationError, match="at most 80 characters"):
        Check(name="graph", result="PASS", headline="x" * 81)
    long = " ".join(["word"] * 30)
    found = Check(name="graph", result="PASS", **in_brief(long, "more"))
    assert found.headline.endswith("word ...") and len(found.headline) <= 80
    assert found.details == (long, "more")
    assert in_brief("short") == {"headline": "short", "details": ()}


def test_a_result_that_the_checks_do_not_support_is_refused() -> None:
    honest = verdict(check("graph", "FAIL"))
    with pytest.raises(ValidationError, match="the checks amount to FAIL, not to PASS"):
        Verdict.model_validate(honest.model_dump() | {"result": "PASS"})
