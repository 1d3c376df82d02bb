"""What training minimises: named, unscaled terms, their weights in one dict, one sum.

B batch, C classes, h w score pixels, H W label pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from artoolkit.losses.affinity import check_inputs, check_options, image_losses
from artoolkit.losses.gram import point_losses
from artoolkit.losses.pixelwise import pixel_losses
from artoolkit.losses.sampling import Points, grid_points, read_labels
from artoolkit.losses.weighting import HardExamples, total_and_count

MAIN = "main"
CROSS_ENTROPY = "cross_entropy"
AFFINITY = "affinity_regression"


class Objective(nn.Module):
    """Cross-entropy of every output, and affinity regression of the main one.

    Terms: `cross_entropy` (of the main output), one per name of `aux_weights` (cross-entropy of
    that auxiliary output), and `affinity_regression`, which is not even computed at weight 0 (the
    control arm) unless `monitor_affinity` asks for its value, without a gradient.

    Scores of any size are brought to the label's size by bilinear resizing with `align_corners`;
    labels are never resized. Cross-entropy is the mean over labelled pixels, 0 where there is none:
    weighted by `class_weights` (C numbers) as in `torch.nn.functional.cross_entropy`, and over hard
    pixels only with `ohem`. `grid`, `sizes`, `stride`, `include_self` and `generator` are those of
    `affinity_regression`. The default of `ar_weight` is the published one, not `finetune`'s.
    `weights` may be changed between steps.

    `mean_count` is for several processes that average their gradients: it maps a count (labelled
    pixels, valid images) to its mean over the processes, and so makes every term's average over
    processes the mean over the global batch. `share` (rank, number of processes) says which images
    of that batch these are, every so many from `rank` on: jittered points are drawn for all.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        *,
        align_corners: bool,
        ar_weight: float = 0.1,
        grid: str = "center",
        sizes: tuple[int, ...] = (12, 6),
        stride: int | None = None,
        include_self: bool = True,
        generator: torch.Generator | None = None,
        aux_weights: Mapping[str, float] | None = None,
        ignore_index: int = 255,
        class_weights: Sequence[float] | Tensor | None = None,
        ohem: HardExamples | None = None,
        monitor_affinity: bool = False,
        mean_count: Callable[[Tensor], Tensor] | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        super().__init__()
        check_options(grid, sizes, stride)
        if ar_weight < 0:
            raise ValueError(f"ar_weight: got {ar_weight}; expected 0 or more")
        auxiliary = dict(aux_weights or {})
        if reserved := {MAIN, CROSS_ENTROPY, AFFINITY} & set(auxiliary):
            raise ValueError(f"aux_weights: {', '.join(sorted(reserved))} is a name of this class")
        self.auxiliary = tuple(auxiliary)
        self.weights = {CROSS_ENTROPY: 1.0, **auxiliary}
        if ar_weight != 0 or monitor_affinity:
            self.weights[AFFINITY] = float(ar_weight)
        self.grid, self.sizes, self.stride = grid, tuple(sizes), stride
        self.include_self, self.generator = include_self, generator
        self.align_corners, self.ignore_index = align_corners, ignore_index
        self.ohem, self.mean_count, self.share = ohem, mean_count, share
        weights = None if class_weights is None else torch.as_tensor(class_weights).float()
        # Not persistent: the objective leaves nothing in a checkpoint.
        self.register_buffer("class_weights", weights, persistent=False)

    def forward(self, outputs: Mapping[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        """Score maps B x C x h x w by name ("main" among them), integer labels B x H x W -> terms.

        The terms are unscaled scalars, at least float32. Raises ValueError where an output is
        missing, or scores and labels do not fit together.
        """
        if missing := [name for name in (MAIN, *self.auxiliary) if name not in outputs]:
            raise ValueError(
                f"outputs: {', '.join(missing)} missing; got {', '.join(outputs) or 'none'}"
            )
        main = outputs[MAIN]
        check_inputs(main, labels)
        points = self._points(main, labels)
        cross_entropy, values = self._cross_entropy(main, labels, points)
        terms = {CROSS_ENTROPY: cross_entropy}
        for name in self.auxiliary:
            check_inputs(outputs[name], labels)
            terms[name], _ = self._cross_entropy(outputs[name], labels, None)
        if AFFINITY in self.weights:
            with torch.set_grad_enabled(torch.is_grad_enabled() and self.weights[AFFINITY] != 0):
                terms[AFFINITY] = self._affinity(main, values, labels, points)
        return terms

    def total(self, terms: Mapping[str, Tensor]) -> Tensor:
        """The weighted sum of the terms: what is minimised."""
        return torch.stack([self.weights[name] * term for name, term in terms.items()]).sum()

    def _points(self, scores: Tensor, labels: Tensor) -> Points | None:
        """The points of affinity regression, where they are few enough to share a node."""
        if AFFINITY not in self.weights or self.grid == "all":
            return None
        rank, processes = self.share
        points = grid_points(
            (labels.shape[1], labels.shape[2]),
            grid=self.grid,
            sizes=self.sizes,
            batch=len(scores) * processes,
            device=scores.device,
            generator=self.generator,
        )
        if len(points.rows) == 1:
            return points
        return Points(points.rows[rank::processes], points.cols[rank::processes])

    def _cross_entropy(
        self, scores: Tensor, labels: Tensor, points: Points | None
    ) -> tuple[Tensor, Tensor]:
        """The term, and the scores at the points."""
        if self.class_weights is not None and len(self.class_weights) != scores.shape[1]:
            raise ValueError(
                f"class_weights: got {len(self.class_weights)}; expected {scores.shape[1]}"
            )
        losses, values = pixel_losses(
            scores,
            labels,
            align_corners=self.align_corners,
            ignore_index=self.ignore_index,
            points=points,
        )
        total, count = total_and_count(
            losses,
            labels,
            ignore_index=self.ignore_index,
            class_weights=self.class_weights,
            hard_examples=self.ohem,
        )
        return self._mean(total, count), values

    def _affinity(
        self, scores: Tensor, values: Tensor, labels: Tensor, points: Points | None
    ) -> Tensor:
        if points is None:
            losses, counted = image_losses(
                scores,
                labels,
                grid=self.grid,
                sizes=self.sizes,
                stride=self.stride,
                ignore_index=self.ignore_index,
                align_corners=self.align_corners,
                include_self=self.include_self,
                generator=None,
            )
        else:
            losses, counted = point_losses(
                values,
                read_labels(labels, points),
                ignore_index=self.ignore_index,
                include_self=self.include_self,
            )
        return self._mean(losses.sum(), counted.sum().to(losses.dtype))

    def _mean(self, total: Tensor, count: Tensor) -> Tensor:
        if self.mean_count is not None:
            count = self.mean_count(count)
        return total / torch.where(count > 0, count, 1)
