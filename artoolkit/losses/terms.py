"""Every term that the loss can have, by name. A new one is a function and a line in `TERMS`.

A term's function takes the `Step` and the name of an output, and returns the sum of whatever it is
the mean of, and what to divide that by: the objective divides, so that the mean is over the batch
of all processes. What follows as keywords are the term's options in a recipe
(`loss.terms.<name>.options`), checked by their annotations before anything starts.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_type_hints

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, ValidationError, create_model
from torch import Tensor

from artoolkit.losses import borders, distillation
from artoolkit.losses.points import Points
from artoolkit.losses.step import EDGES, Step
from artoolkit.losses.weighting import HardExamples, MeanOver, total_and_count
from artoolkit.spec import problems

MAIN = "main"
CROSS_ENTROPY = "cross_entropy"
AFFINITY = "affinity_regression"

# uint8 train ids H x W (255: void) -> any map H x W; runs in the processes that load images.
LabelMap = Callable[[NDArray[np.uint8]], NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Term:
    """A function of the loss, and what it needs.

    output: the output it is taken of, unless a recipe names another.
    others: further outputs it reads in `Step.outputs`.
    maps: what the loader shall make of the (augmented) labels, by its name in `Step.maps`; the
        functions are importable, as they run in other processes.
    """

    function: Callable[..., tuple[Tensor, Tensor]]
    output: str = MAIN
    others: tuple[str, ...] = ()
    maps: Mapping[str, LabelMap] = field(default_factory=dict)

    def checked(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options, each as its annotation says; `ValueError` with every mistake."""
        hints = get_type_hints(self.function, include_extras=True)
        known: dict[str, Any] = {
            name: (hints[name], ... if p.default is p.empty else p.default)
            for name, p in inspect.signature(self.function).parameters.items()
            if p.kind is p.KEYWORD_ONLY
        }
        shape: Any = create_model(
            self.function.__name__, __config__=ConfigDict(extra="forbid"), **known
        )
        try:
            valid = shape(**options)
        except ValidationError as error:
            raise ValueError(problems(error, shape)) from error
        return {name: getattr(valid, name) for name in known}


def cross_entropy(
    step: Step,
    output: str,
    *,
    ohem: HardExamples | None = None,
    mean_over: MeanOver = "weights",
) -> tuple[Tensor, Tensor]:
    """-log p of each labelled pixel's own class, weighted; see `total_and_count`."""
    return total_and_count(
        step.pixel_losses(output),
        step.labels,
        ignore_index=step.ignore_index,
        weights=step.pixel_weights,
        hard_examples=ohem,
        mean_over=mean_over,
        processes=step.share[1],
    )


def affinity_regression(
    step: Step, output: str, *, points: Points = Points()
) -> tuple[Tensor, Tensor]:
    """(A_ij - M_ij)^2 over pairs of points; see `artoolkit.losses.affinity`."""
    losses, counted = step.affinity_losses(output, points)
    return losses.sum(), counted.sum().to(losses.dtype)


TERMS: dict[str, Term] = {
    CROSS_ENTROPY: Term(function=cross_entropy),
    AFFINITY: Term(function=affinity_regression),
    "distillation": Term(function=distillation.distillation),
    "affinity_distillation": Term(function=distillation.affinity_distillation),
    "sigmoid_cross_entropy": Term(function=borders.sigmoid_cross_entropy),
    "boundary_cross_entropy": Term(
        function=borders.boundary_cross_entropy,
        output=borders.BOUNDARY,
        maps={EDGES: borders.edge_map},
    ),
    "border_cross_entropy": Term(function=borders.border_cross_entropy, others=(borders.BOUNDARY,)),
    "detail_cross_entropy": Term(
        function=borders.detail_cross_entropy,
        output=borders.DETAIL,
        maps={borders.DETAILS: borders.detail_map},
    ),
    "detail_dice": Term(
        function=borders.detail_dice,
        output=borders.DETAIL,
        maps={borders.DETAILS: borders.detail_map},
    ),
}
