"""Objective of training: named, unscaled terms, their weights in one dict, one sum.

The terms themselves are in `terms.py`. B batch, C classes, h w score pixels, H W label pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from artoolkit.losses.borders import edge_map
from artoolkit.losses.points import Points
from artoolkit.losses.step import EDGES, Step, TeacherScores
from artoolkit.losses.terms import TERMS, LabelMap, Term
from artoolkit.words import TAUGHT


@dataclass(frozen=True, kw_only=True)
class WeightedTerm:
    """A term of one objective: the name of its function in `TERMS`, of which output, how heavy.

    At weight 0 it is not computed, unless `monitor` asks for its value, without a gradient.
    `output` is by default the term's own, and `options` are checked. `ValueError` for a name that
    is not in `TERMS`, a weight that is negative or not finite, and for wrong options.
    """

    kind: str
    output: str = ""
    weight: float = 1.0
    monitor: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in TERMS:
            raise ValueError(f"no such term: got {self.kind!r}; expected {', '.join(TERMS)}")
        if not 0 <= self.weight < math.inf:
            raise ValueError(f"weight: got {self.weight}; expected a finite number from 0 on")
        object.__setattr__(self, "output", self.output or self.term.output)
        object.__setattr__(self, "options", self.term.checked(self.options))

    @property
    def term(self) -> Term:
        return TERMS[self.kind]

    @property
    def computed(self) -> bool:
        return self.weight != 0 or self.monitor


class Objective(nn.Module):
    """Named terms x weights, summed in one place.

    terms: by the name under which each is logged. `weights` holds their weights, which may be
        changed between steps.
    align_corners: that of bringing scores to the label's size; labels are never resized.
    class_weights: C numbers for the terms that weigh classes.
    boundary_weight: how often a pixel near a border counts in cross-entropy (`borders.edge_map`).
    label_smoothing: share of each label that is spread over all classes, in [0, 1).
    mean_count: for several processes that average their gradients: maps a count (labelled pixels,
        valid images) to its mean over the processes, and so makes every term's average over
        processes the mean over the global batch.
    share: rank and number of processes, which have every so many image of that batch from `rank`
        on; jittered points are drawn for all.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        terms: Mapping[str, WeightedTerm],
        *,
        align_corners: bool,
        ignore_index: int = 255,
        class_weights: Sequence[float] | Tensor | None = None,
        boundary_weight: float = 1.0,
        label_smoothing: float = 0.0,
        mean_count: Callable[[Tensor], Tensor] = lambda count: count,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        super().__init__()
        self.align_corners, self.ignore_index = align_corners, ignore_index
        self.boundary_weight, self.label_smoothing = boundary_weight, label_smoothing
        self.mean_count, self.share = mean_count, share
        self.terms = {name: self._aligned(term) for name, term in terms.items() if term.computed}
        self.weights = {name: float(term.weight) for name, term in self.terms.items()}
        # Points that can share a node with another term of their output, which is cheaper.
        outputs = [use.output for use in self.terms.values()]
        self.joined = {
            use.output: points
            for use in self.terms.values()
            if isinstance(points := use.options.get("points"), Points)
            and outputs.count(use.output) > 1
        }
        weights = None if class_weights is None else torch.as_tensor(class_weights).float()
        # Not persistent: the objective leaves nothing in a checkpoint.
        self.register_buffer("class_weights", weights, persistent=False)

    @property
    def maps(self) -> dict[str, LabelMap]:
        """The label maps that the loader has to make, by name."""
        weighed = {} if self.boundary_weight == 1 else {EDGES: edge_map}
        of_terms = (use.term.maps for use in self.terms.values())
        return {name: make for maps in (weighed, *of_terms) for name, make in maps.items()}

    @property
    def taught(self) -> bool:
        """True if a term needs the scores of a teacher."""
        return any(use.kind in TAUGHT for use in self.terms.values())

    def forward(
        self,
        outputs: Mapping[str, Tensor],
        labels: Tensor,
        maps: Mapping[str, Tensor] | None = None,
        teacher: TeacherScores | None = None,
    ) -> dict[str, Tensor]:
        """Scores B x C x h x w by name, integer labels B x H x W, label maps by name -> terms.

        The terms are unscaled scalars, at least float32, 0 where nothing is labelled. `teacher` is
        for the terms that learn from one. Raises ValueError where an output or the teacher is
        missing, or scores and labels do not fit together.
        """
        wanted = [name for use in self.terms.values() for name in (use.output, *use.term.others)]
        if missing := [name for name in dict.fromkeys(wanted) if name not in outputs]:
            raise ValueError(
                f"outputs: {', '.join(missing)} missing; got {', '.join(outputs) or 'none'}"
            )
        step = Step(
            outputs=outputs,
            labels=labels,
            maps=maps or {},
            align_corners=self.align_corners,
            ignore_index=self.ignore_index,
            class_weights=self.class_weights,
            boundary_weight=self.boundary_weight,
            label_smoothing=self.label_smoothing,
            teacher=teacher,
            mean_count=self.mean_count,
            share=self.share,
            joined=self.joined,
        )
        return {name: self._term(name, use, step) for name, use in self.terms.items()}

    def total(self, terms: Mapping[str, Tensor]) -> Tensor:
        """The weighted sum of the terms: what is minimised."""
        return torch.stack([self.weights[name] * term for name, term in terms.items()]).sum()

    def _term(self, name: str, use: WeightedTerm, step: Step) -> Tensor:
        learned = torch.is_grad_enabled() and self.weights[name] != 0
        with torch.set_grad_enabled(learned):
            total, count = use.term.function(step, use.output, **use.options)
            count = self.mean_count(count)
            return total / torch.where(count > 0, count, 1)

    def _aligned(self, use: WeightedTerm) -> WeightedTerm:
        """The term with its points read as all scores here are."""
        points = use.options.get("points")
        if not isinstance(points, Points):
            return use
        here = replace(points, align_corners=self.align_corners, ignore_index=self.ignore_index)
        return replace(use, options={**use.options, "points": here})
