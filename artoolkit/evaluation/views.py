"""Views of an image in an evaluation: scales, mirrored or not, whole or in sliding windows.

`Views` says it, `ViewedPredictor` carries it out around any other predictor, whose scores it needs.
Sizes in pixels, height before width. Legend: C classes, H W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from artoolkit.errors import UsageError
from artoolkit.evaluation.predictor import Pixels, Predictor, SizeHW
from artoolkit.optional import require
from artoolkit.preprocess import fit_image, fit_labels

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Views:
    """Number and pieces of the views of an image.

    `scales` resize the image first; `flip` adds the mirrored image at each. With `window` (height,
    width) the network sees windows of that size only, `stride` pixels apart (two thirds of the
    window by default, PSPNet's third of overlap). `ValueError` for values that leave pixels out.
    """

    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    window: SizeHW | None = None
    stride: SizeHW | None = None

    def __post_init__(self) -> None:
        if not self.scales or min(self.scales) <= 0:
            raise ValueError(f"scales must be positive, got {self.scales}")
        if self.window is None:
            if self.stride is not None:
                raise ValueError("a window stride belongs to a window")
            return
        if min(self.window) < 1 or any(
            not 0 < step <= side for step, side in zip(self.steps, self.window, strict=True)
        ):
            raise ValueError(
                f"a window of {self.window} every {self.steps} pixels leaves pixels out"
            )

    @property
    def steps(self) -> SizeHW:
        """Rows and columns from one window to the next."""
        assert self.window is not None, "only asked for with a window"
        rows, columns = (math.ceil(2 * side / 3) for side in self.window)
        return self.stride or (rows, columns)


WHOLE = Views()


def window_starts(size: int, window: int, step: int) -> Iterator[int]:
    """Starts of windows, `step` apart; the last one ends where the image does."""
    count = math.ceil(max(size - window, 0) / step) + 1
    return (min(index * step, max(size - window, 0)) for index in range(count))


class ViewedPredictor(Predictor):
    """Predicts with the mean softmax probabilities of `predictor` over all `views` of an image.

    Windows are averaged at the size of their scale, then scales and mirrored images at the size of
    the network's input. An image smaller than a window is filled up at the bottom and right with
    `fill` (RGB). `align_corners`: how scores are brought to the size of what the network saw.
    Raises `UsageError` for views that the predictor cannot have. Needs torch.
    """

    def __init__(
        self,
        predictor: Predictor,
        views: Views,
        *,
        align_corners: bool,
        fill: tuple[int, int, int],
    ) -> None:
        self.labels, self.batch, self.fixed = predictor.labels, predictor.batch, predictor.fixed
        self.settings = predictor.settings | asdict(views)
        self.minimum_hw = predictor.minimum_hw
        # A graph of one size sees windows of the whole image, not of the image at its own size.
        self.input_hw = None if predictor.fixed and views.window else predictor.input_hw
        self._predictor, self._views = predictor, views
        self._align_corners, self._fill = align_corners, fill
        self._check()

    def _check(self) -> None:
        views, size = self._views, self.minimum_hw
        if views.window is None:
            if self.fixed and views.scales != (1.0,):
                raise UsageError(
                    "the graph takes one image size, so there are no other scales",
                    hint="Add --window {} {}, or give the checkpoint.".format(*size),
                )
        elif self.fixed and views.window != size:
            raise UsageError(
                "the graph takes one image size, which the window must have",
                got="{} x {}".format(*views.window),
                expected="{} x {}".format(*size),
            )
        elif views.window[0] < size[0] or views.window[1] < size[1]:
            raise UsageError(
                "the window is too small for the network",
                got="{} x {}".format(*views.window),
                expected="at least {} x {}".format(*size),
            )

    def __call__(self, images: Sequence[Pixels]) -> list[Pixels]:
        require("torch", "averaging over views")
        import torch

        from artoolkit.deploy.graph import argmax_labels

        maps = []
        for image in images:
            own = (image.shape[0], image.shape[1])
            with torch.inference_mode():
                labels = argmax_labels(self._probabilities(image, self.input_hw or own))
            maps.append(fit_labels(labels[0].cpu().numpy(), own))
        return maps

    def scores(self, image: Pixels) -> torch.Tensor:
        """Summed probabilities of all views, at the size of the image."""
        import torch

        with torch.inference_mode():
            return self._probabilities(image, (image.shape[0], image.shape[1]))

    def _probabilities(self, image: Pixels, size_hw: SizeHW) -> torch.Tensor:
        total: torch.Tensor | None = None
        for scale, mirrored in product(self._views.scales, (False, True)[: 1 + self._views.flip]):
            scaled = fit_image(image, (round(scale * size_hw[0]), round(scale * size_hw[1])))
            found = self._view(scaled[:, ::-1] if mirrored else scaled, size_hw)
            found = found.flip(3) if mirrored else found
            total = found if total is None else total.add_(found)
        assert total is not None, "there is at least one scale"
        return total

    def _view(self, image: Pixels, size_hw: SizeHW) -> torch.Tensor:
        """1 x C x H x W probabilities of one image, at `size_hw`."""
        from artoolkit.deploy.graph import upsampled

        if self._views.window is None:
            return self._seen(image, size_hw)
        # Probabilities of pixels are resized as an image is, whatever the network does.
        return upsampled(self._windowed(image, self._views.window), size_hw, align_corners=False)

    def _seen(self, image: Pixels, size_hw: SizeHW) -> torch.Tensor:
        from artoolkit.deploy.graph import upsampled

        scores = self._predictor.scores(image)
        return upsampled(scores, size_hw, align_corners=self._align_corners).softmax(1)

    def _windowed(self, image: Pixels, window: SizeHW) -> torch.Tensor:
        """1 x C x H x W mean probabilities of all windows over the image."""
        import torch

        height, width = image.shape[:2]
        size = (max(window[0], height), max(window[1], width))
        filled = np.full((*size, 3), self._fill, np.uint8)
        filled[:height, :width] = image
        total: torch.Tensor | None = None
        counts = np.zeros(size, np.float32)
        starts = map(window_starts, size, window, self._views.steps)
        for top, left in product(*starts):
            place = np.s_[..., top : top + window[0], left : left + window[1]]
            found = self._seen(filled[place[1:]], window)
            if total is None:
                total = found.new_zeros(1, found.shape[1], *size)
            total[place] += found
            counts[place] += 1
        assert total is not None, "there is at least one window"
        return total.div_(torch.from_numpy(counts).to(total.device))[..., :height, :width]

    def close(self) -> None:
        self._predictor.close()
