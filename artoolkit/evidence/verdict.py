"""The verdict: one answer per check, and what they amount to.

PASS, FAIL and UNDECIDED are answers; UNAVAILABLE says why there is none and what would give one.
A failed required check fails the verdict; a required check without a clear answer leaves it
undecided; what is not required is shown and decides nothing.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from artoolkit.evidence.records import Record, header
from artoolkit.spec import Frozen

Result = Literal["PASS", "FAIL", "UNDECIDED", "UNAVAILABLE"]
Answer = Literal["PASS", "FAIL", "UNDECIDED"]

EXIT_CODES: dict[Answer, int] = {"PASS": 0, "FAIL": 1, "UNDECIDED": 3}


# A row of the table in a terminal of 120 columns.
HEADLINE = 80


class Check(Frozen):
    """One question and its answer.

    `headline` is the row of a table, `details` are sentences below it, `numbers` back both.
    `advice`: what would decide it, where it is undecided. `origin`: the earlier proof of the same
    two bundles that answered, empty where this one did.
    """

    name: str
    result: Result
    headline: str = Field(max_length=HEADLINE)
    details: tuple[str, ...] = ()
    numbers: dict[str, Any] = Field(default_factory=dict)
    required: bool = True
    advice: str = ""
    origin: str = ""


def in_brief(text: str, *details: str) -> dict[str, Any]:
    """`headline` and `details` of a check; a text too long for a headline is whole below it."""
    headline = textwrap.shorten(text, HEADLINE, placeholder=" ...")
    whole = () if headline == text else (text,)
    return {"headline": headline, "details": (*whole, *details)}


def failed(name: str, problems: Sequence[str]) -> Check:
    """FAIL with the first problem as the headline; where there are more, all stand below."""
    more = f", and {len(problems) - 1} more" if problems[1:] else ""
    brief = in_brief(problems[0] + more, *(problems if more else ()))
    return Check(name=name, result="FAIL", **brief, numbers={"problems": list(problems)})


class Subject(Frozen):
    """One side of a comparison: a name to show and the sha256 of its manifest or file."""

    name: str
    sha256: str


# For a measurement whose two sides need no name, as those of a simulation.
NAMELESS = Subject(name="", sha256="")


class PairRecord(Record):
    """A record of a candidate and of the baseline that it is compared with."""

    baseline: Subject
    candidate: Subject

    @property
    def subjects(self) -> tuple[Subject, ...]:
        return self.baseline, self.candidate


class Verdict(PairRecord):
    """All checks of a candidate against a baseline; `target` holds the margins declared before.

    `result` and `meaning` follow from the checks (`decide` computes them). `measurements` maps the
    raw measurement files written beside the verdict to their sha256.
    """

    KIND: ClassVar[str] = "verdict"
    VERSION: ClassVar[str] = "2"

    target: dict[str, Any]
    checks: tuple[Check, ...]
    result: Answer
    meaning: str
    measurements: dict[str, str] = Field(default_factory=dict)
    seed: int = 0

    @model_validator(mode="after")
    def _follows_from_checks(self) -> Verdict:
        if self.result != overall(self.checks):
            raise ValueError(f"the checks amount to {overall(self.checks)}, not to {self.result}")
        return self

    @property
    def exit_code(self) -> int:
        """0 every required check passed, 1 one failed, 3 undecided."""
        return EXIT_CODES[self.result]


def decide(
    checks: Sequence[Check],
    *,
    baseline: Subject,
    candidate: Subject,
    target: dict[str, Any],
    measurements: dict[str, str] | None = None,
    seed: int = 0,
    device: dict[str, str] | None = None,
) -> Verdict:
    """The verdict that the checks amount to, with this machine's environment."""
    return Verdict(
        **header(Verdict, **(device or {})),
        baseline=baseline,
        candidate=candidate,
        target=target,
        checks=tuple(checks),
        result=overall(checks),
        meaning=meaning(checks),
        measurements=measurements or {},
        seed=seed,
    )


def overall(checks: Sequence[Check]) -> Answer:
    """The worst of the required checks; no required check at all is undecided."""
    results = {check.result for check in checks if check.required}
    if "FAIL" in results:
        return "FAIL"
    return "PASS" if results == {"PASS"} else "UNDECIDED"


def meaning(checks: Sequence[Check]) -> str:
    """The verdict in one sentence that needs no knowledge of the checks."""
    required = [check for check in checks if check.required]
    answer = overall(checks)
    if answer == "FAIL":
        failed = [check.name for check in required if check.result == "FAIL"]
        verb = "does" if len(failed) == 1 else "do"
        return f"The candidate is not an equal replacement: {', '.join(failed)} {verb} not hold."
    if answer == "PASS":
        passed = [check.name for check in required]
        if {"graph", "memory", "latency", "accuracy"} <= set(passed):
            return (
                "The candidate can replace the baseline: the same program, the same time and "
                "memory, and an mIoU that is at least as good within the declared margin."
            )
        return f"Every required check holds: {', '.join(passed)}."
    if not required:
        return "No check was required, so nothing is decided."
    left = [c.name for c in required if c.result in ("UNDECIDED", "UNAVAILABLE")]
    return f"No required check failed, but {', '.join(left)} could not be decided here."
