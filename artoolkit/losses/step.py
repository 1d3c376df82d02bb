"""A `Step`: one batch as the loss terms see it, with what several of them need computed once.

B batch, C classes, h w score pixels, H W label pixels, N points.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from artoolkit.losses.affinity import check_inputs, image_losses
from artoolkit.losses.gram import point_losses
from artoolkit.losses.pixelwise import pixel_losses
from artoolkit.losses.points import Points
from artoolkit.losses.precision import accumulation_dtype
from artoolkit.losses.sampling import LabelPixels, grid_pixels, read_labels

# The label map of pixels near a border, see `borders.edge_map`.
EDGES = "edges"


class TeacherScores(NamedTuple):
    """Scores B x C x h x w of any size, without a gradient, and how they lie on the labels."""

    scores: Tensor
    align_corners: bool


@dataclass(kw_only=True)
class Step:
    """Outputs, labels and label maps of one batch, and what the recipe says of all terms.

    outputs: B x C x h x w scores by name, of any size, "main" among them.
    labels: B x H x W integers in [0, C), or `ignore_index` for void.
    maps: B x H x W by name, what the terms' `maps` made of the labels.
    align_corners: that of bringing scores to the label's size.
    class_weights: C numbers, or None.
    boundary_weight: how often a pixel near a border counts in cross-entropy.
    label_smoothing: see `losses.pixelwise`; of every `pixel_losses`.
    teacher: what another network says of the same images, for the terms that need it.
    mean_count: maps a count to its mean over the processes that share the batch.
    share: rank and number of these processes; they have every so many image from `rank` on.
    joined: by output, the points whose scores are read in the node of its `pixel_losses`.
    """

    outputs: Mapping[str, Tensor]
    labels: Tensor
    maps: Mapping[str, Tensor] = field(default_factory=dict)
    align_corners: bool
    ignore_index: int = 255
    class_weights: Tensor | None = None
    boundary_weight: float = 1.0
    label_smoothing: float = 0.0
    teacher: TeacherScores | None = None
    mean_count: Callable[[Tensor], Tensor] = lambda count: count
    share: tuple[int, int] = (0, 1)
    joined: Mapping[str, Points] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # A term without a gradient may be the first to ask for what another one learns from.
        self._gradients = torch.is_grad_enabled()
        self._nodes: dict[str, tuple[Tensor, Tensor]] = {}
        self._resized: dict[str, Tensor] = {}
        self._pixels = {
            output: self._drawn(points)
            for output, points in self.joined.items()
            if points.grid != "all"
        }

    def scores(self, output: str) -> Tensor:
        """The scores of `output`; `ValueError` where they do not fit the labels."""
        check_inputs(self.outputs[output], self.labels)
        return self.outputs[output]

    @property
    def taught(self) -> TeacherScores:
        """The teacher's scores; `ValueError` where there are none, or they do not fit."""
        if self.teacher is None:
            raise ValueError("teacher: no scores; expected those of the network to learn from")
        theirs, ours = self.teacher.scores, self.outputs["main"]
        if theirs.ndim != 4 or theirs.shape[:2] != ours.shape[:2]:
            raise ValueError(
                f"teacher: got scores of shape {tuple(theirs.shape)}; "
                f"expected {len(ours)} x {ours.shape[1]} x h x w"
            )
        return self.teacher

    def upsampled(self, output: str) -> Tensor:
        """The scores of `output` at the label's size: B x C x H x W, at least float32."""
        if output not in self._resized:
            scores = self.scores(output)
            with torch.set_grad_enabled(self._gradients):
                self._resized[output] = interpolate(
                    scores.to(accumulation_dtype(scores.dtype)),
                    self.labels.shape[1:],
                    mode="bilinear",
                    align_corners=self.align_corners,
                )
        return self._resized[output]

    def pixel_losses(self, output: str) -> Tensor:
        """-log of the probability of each pixel's own class: B x H x W, 0 where void.

        `ValueError` where the number of class weights is not that of the classes.
        """
        return self._node(output)[0]

    @property
    def pixel_weights(self) -> Tensor | None:
        """Weights of the pixels by their class and by how near a border is: B x H x W, or None."""
        weights = None
        if self.class_weights is not None:
            void = self.labels == self.ignore_index
            weights = self.class_weights[self.labels.long().masked_fill(void, 0)]
        if self.boundary_weight != 1:
            near = 1 + (self.boundary_weight - 1) * (self.maps[EDGES] != 0)
            weights = near if weights is None else weights * near
        return weights

    def affinity_losses(self, output: str, points: Points) -> tuple[Tensor, Tensor]:
        """The affinity-regression loss of every image, and whether it counts (bool): both B."""
        if output not in self._pixels or self.joined[output] != points:
            return image_losses(self.scores(output), self.labels, points)
        labels = read_labels(self.labels, self._pixels[output])
        return point_losses(self._node(output)[1], labels, points)

    def _node(self, output: str) -> tuple[Tensor, Tensor]:
        """Per-pixel losses, and the scores at the joined points, in one node of autograd."""
        if output not in self._nodes:
            scores, weights = self.scores(output), self.class_weights
            if weights is not None and len(weights) != scores.shape[1]:
                raise ValueError(f"class_weights: got {len(weights)}; expected {scores.shape[1]}")
            with torch.set_grad_enabled(self._gradients):
                self._nodes[output] = pixel_losses(
                    scores,
                    self.labels,
                    align_corners=self.align_corners,
                    ignore_index=self.ignore_index,
                    smoothing=self.label_smoothing,
                    pixels=self._pixels.get(output),
                )
        return self._nodes[output]

    def _drawn(self, points: Points) -> LabelPixels:
        """The points of these images; jittered ones are drawn for the batch of all processes."""
        rank, processes = self.share
        pixels = grid_pixels(
            (self.labels.shape[1], self.labels.shape[2]),
            points,
            batch=len(self.labels) * processes,
            device=self.labels.device,
        )
        if len(pixels.rows) == 1:
            return pixels
        return LabelPixels(pixels.rows[rank::processes], pixels.cols[rank::processes])
