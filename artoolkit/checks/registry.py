"""Every check of a verdict, in the order of its table: adding one is one line here."""

from __future__ import annotations

from artoolkit.checks.accuracy import ACCURACY
from artoolkit.checks.graph import GRAPH
from artoolkit.checks.kind import CheckKind
from artoolkit.checks.latency import LATENCY
from artoolkit.checks.memory import MEMORY, SIZE
from artoolkit.checks.outputs import OUTPUTS
from artoolkit.checks.parts import PARTS
from artoolkit.checks.program import AHEAD_OF_TIME, PROGRAM
from artoolkit.errors import RecipeError
from artoolkit.spec import Target
from artoolkit.words import Question

CHECKS: list[CheckKind] = [
    GRAPH,
    PARTS,
    PROGRAM,
    *AHEAD_OF_TIME,
    MEMORY,
    LATENCY,
    OUTPUTS,
    ACCURACY,
]
# By int8 graph and program become others: that is what it is for.
PRECISION: list[CheckKind] = [SIZE, LATENCY, ACCURACY]


def asked_by(question: Question) -> list[CheckKind]:
    """The checks that answer a question."""
    return CHECKS if question == "equal" else PRECISION


def check_names(target: Target) -> None:
    """Raises `RecipeError` where a target calls a check optional that is none."""
    known = [kind.name for kind in CHECKS]
    for name in target.optional:
        if name not in known:
            raise RecipeError.unknown("check", name, known, hint="`optional` of a target names it.")
