"""Predicts with a checkpoint on torch, at one scale or several, as its network was trained.

Needs torch; imported by `artoolkit evaluate` and `artoolkit export` only. With `imgsz` it does what
the exported graph does; without, every image keeps its own size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from artoolkit.errors import BackendError
from artoolkit.measure.quality import Pixels, Predictor
from artoolkit.optional import require
from artoolkit.preprocess import fit_image, fit_labels, normalise

if TYPE_CHECKING:
    import torch

    from artoolkit.networks import Network
    from artoolkit.networks.checkpoint import Checkpoint


def checkpoint_predictor(
    checkpoint: Checkpoint,
    *,
    imgsz: tuple[int, int] | None = None,
    device: str = "cpu",
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
) -> Predictor:
    """A predictor with the checkpoint's network in evaluation mode on `device`.

    `scales` resize the image before the network; with several, or with `flip` (each scale also
    mirrored), the softmax probabilities are averaged at the size of the unscaled input. Raises
    `BackendError` if the device is not there, `CheckpointError` if the weights do not fit.
    """
    torch = require("torch", "evaluating a checkpoint")
    if not scales or min(scales) <= 0:
        raise ValueError(f"scales must be positive, got {scales}")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise BackendError("PyTorch has no GPU here", got=device, hint="Use --device cpu.")
    network = checkpoint.network().to(device)

    def predict(images: Sequence[Pixels]) -> list[Pixels]:
        labels = []
        for image in images:
            size = imgsz or (image.shape[0], image.shape[1])
            with torch.inference_mode():
                scores = _scores(network, image, size, scales=scales, flip=flip)
                found = scores.argmax(1)[0].to(torch.uint8).cpu().numpy()
            labels.append(fit_labels(found, (image.shape[0], image.shape[1])))
        return labels

    return predict


def _scores(
    network: Network,
    image: Pixels,
    size_hw: tuple[int, int],
    *,
    scales: Sequence[float],
    flip: bool,
) -> torch.Tensor:
    """1 x C x H x W scores of one image at `size_hw`, or mean probabilities of several views."""
    views = [
        (round(scale * size_hw[0]), round(scale * size_hw[1]), mirrored)
        for scale in scales
        for mirrored in ((False, True) if flip else (False,))
    ]
    maps = [_view(network, image, view, size_hw) for view in views]
    if len(maps) == 1:
        return maps[0]
    total = maps[0].softmax(1)
    for one in maps[1:]:
        total += one.softmax(1)
    return total


def _view(
    network: Network, image: Pixels, view: tuple[int, int, bool], size_hw: tuple[int, int]
) -> torch.Tensor:
    import torch
    from torch.nn import functional

    height, width, mirrored = view
    fitted = fit_image(image, (height, width))
    pixels: NDArray[np.float32] = normalise(fitted[None], network.preprocess)
    place = next(network.parameters()).device
    batch = torch.from_numpy(pixels).to(place)
    scores: torch.Tensor = network(batch.flip(3) if mirrored else batch)
    full = functional.interpolate(
        scores.float(), size_hw, mode="bilinear", align_corners=network.align_corners
    )
    return full.flip(3) if mirrored else full
