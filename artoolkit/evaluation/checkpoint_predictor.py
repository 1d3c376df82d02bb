"""Predicts with a checkpoint on torch: whole images or sliding windows, at one scale or several.

Needs torch; imported by `artoolkit evaluate` only. With an image size it does what the exported
graph does; without, every image keeps its own. Legend: C classes, H W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from artoolkit.errors import BackendError, UsageError
from artoolkit.evaluation.quality import Pixels, Predictor
from artoolkit.evaluation.views import SizeHW, Views, window_starts
from artoolkit.optional import require
from artoolkit.preprocess import fit_image, fit_labels, normalise

if TYPE_CHECKING:
    import torch

    from artoolkit.networks import Network
    from artoolkit.networks.checkpoint import Checkpoint

WHOLE = Views()


def checkpoint_predictor(
    checkpoint: Checkpoint,
    *,
    imgsz: SizeHW | None = None,
    device: str = "cpu",
    views: Views = WHOLE,
) -> Predictor:
    """A predictor with the checkpoint's network in evaluation mode on `device`.

    With more than one view or window the softmax probabilities are averaged: windows at the size of
    their scale, then scales and mirrored images at the size of the input. Raises `BackendError` if
    the device is not there, `CheckpointError` if the weights do not fit, `UsageError` for a window
    below the network's least size.
    """
    torch = require("torch", "evaluating a checkpoint")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise BackendError("PyTorch has no GPU here", got=device, hint="Use --device cpu.")
    network = checkpoint.network().to(device)
    if views.window is not None and any(
        side < least for side, least in zip(views.window, network.minimum_hw, strict=True)
    ):
        raise UsageError(
            f"the window is too small for {network.name}",
            got="{} x {}".format(*views.window),
            expected="at least {} x {}".format(*network.minimum_hw),
        )

    def predict(images: Sequence[Pixels]) -> list[Pixels]:
        labels = []
        for image in images:
            own = (image.shape[0], image.shape[1])
            with torch.inference_mode():
                scores = _scores(network, image, imgsz or own, views)
                found = scores.argmax(1)[0].to(torch.uint8).cpu().numpy()
            labels.append(fit_labels(found, own))
        return labels

    return predict


def _scores(network: Network, image: Pixels, size_hw: SizeHW, views: Views) -> torch.Tensor:
    """1 x C x H x W scores of one image at `size_hw`, or summed probabilities of several views."""
    sides = (False, True) if views.flip else (False,)
    kinds = [(scale, mirrored) for scale in views.scales for mirrored in sides]
    if len(kinds) == 1 and views.window is None:
        return _view(network, image, size_hw, views, *kinds[0])
    total: torch.Tensor | None = None
    for kind in kinds:
        one = _view(network, image, size_hw, views, *kind)
        one = one if views.window is not None else one.softmax(1)
        total = one if total is None else total.add_(one)
    assert total is not None, "there is at least one scale"
    return total


def _view(
    network: Network, image: Pixels, size_hw: SizeHW, views: Views, scale: float, mirrored: bool
) -> torch.Tensor:
    """Scores of the scaled and mirrored image at `size_hw`; of windows, their probabilities."""
    import torch

    scaled = (round(scale * size_hw[0]), round(scale * size_hw[1]))
    pixels = normalise(fit_image(image, scaled)[None], network.preprocess)
    batch = torch.from_numpy(pixels).to(next(network.parameters()).device)
    batch = batch.flip(3) if mirrored else batch
    if views.window is None:
        full = _resized(network(batch), size_hw, align_corners=network.align_corners)
    else:
        # An image is resized, whatever the network does to its scores.
        windows = _windowed(network, batch, views.window, views.steps)
        full = _resized(windows, size_hw, align_corners=False)
    return full.flip(3) if mirrored else full


def _windowed(network: Network, batch: torch.Tensor, window: SizeHW, steps: SizeHW) -> torch.Tensor:
    """1 x C x H x W mean probabilities of all windows over a normalised image 1 x 3 x H x W.

    An image smaller than the window is filled up at the bottom and right with the mean color.
    """
    import torch
    from torch.nn import functional

    height, width = batch.shape[2:]
    missing = max(window[0] - height, 0), max(window[1] - width, 0)
    filled = functional.pad(batch, (0, missing[1], 0, missing[0]))
    size = (filled.shape[2], filled.shape[3])
    total: torch.Tensor | None = None
    counts = torch.zeros(1, 1, *size, device=batch.device)
    for top in window_starts(size[0], window[0], steps[0]):
        for left in window_starts(size[1], window[1], steps[1]):
            rows, columns = slice(top, top + window[0]), slice(left, left + window[1])
            scores = network(filled[:, :, rows, columns])
            found = _resized(scores, window, align_corners=network.align_corners).softmax(1)
            if total is None:
                total = found.new_zeros(1, found.shape[1], *size)
            total[:, :, rows, columns] += found
            counts[:, :, rows, columns] += 1
    assert total is not None, "there is at least one window"
    return (total / counts)[:, :, :height, :width]


def _resized(scores: torch.Tensor, size_hw: SizeHW, *, align_corners: bool) -> torch.Tensor:
    if (scores.shape[2], scores.shape[3]) == tuple(size_hw):
        return scores.float()
    from torch.nn import functional

    return functional.interpolate(
        scores.float(), size_hw, mode="bilinear", align_corners=align_corners
    )
