"""Training losses: the affinity-regression loss, and the objective that sums named terms.

They live here and not in a network, so that a network trained with them has the state dict and the
deployed graph of one that was not. Read `terms.py` to add a term. Names are imported when they are
used, since `points` is for what runs without torch, too.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from artoolkit.losses.affinity import (
        AffinityRegression,
        affinity_regression,
        label_affinity,
        sqrt_affinity,
    )
    from artoolkit.losses.objective import Objective, WeightedTerm
    from artoolkit.losses.points import Points
    from artoolkit.losses.step import Step, TeacherScores
    from artoolkit.losses.terms import TERMS, Term
    from artoolkit.losses.weighting import HardExamples

__all__ = [
    "TERMS",
    "AffinityRegression",
    "HardExamples",
    "Objective",
    "Points",
    "Step",
    "TeacherScores",
    "Term",
    "WeightedTerm",
    "affinity_regression",
    "label_affinity",
    "sqrt_affinity",
]
_MODULES = ("points", "weighting", "affinity", "step", "terms", "objective")


def __getattr__(name: str) -> Any:
    if name in __all__:
        for module in _MODULES:
            found = import_module(f"{__name__}.{module}")
            if name in vars(found):
                return vars(found)[name]
    raise AttributeError(f"module {__name__} has no attribute {name}")
