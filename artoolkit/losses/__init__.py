"""Training losses: the affinity-regression loss and the objective that sums it with cross-entropy.

They live here and not in a network, so that a network trained with them has the state dict and the
deployed graph of one that was not.
"""

from artoolkit.losses.affinity import (
    AffinityRegression,
    affinity_regression,
    label_affinity,
    sqrt_affinity,
)
from artoolkit.losses.objective import Objective
from artoolkit.losses.weighting import HardExamples

__all__ = [
    "AffinityRegression",
    "HardExamples",
    "Objective",
    "affinity_regression",
    "label_affinity",
    "sqrt_affinity",
]
