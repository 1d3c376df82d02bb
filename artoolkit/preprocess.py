"""From a decoded image to the network's input, and from its labels back to the image's size.

This is the only preprocessing in artoolkit: every backend, on the workstation and on the robot,
goes through `fit_image` and `fit_labels`. Normalisation happens inside the deployed graph with the
numbers of `Preprocess`; `normalise` is its reference in numpy.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from artoolkit.spec import Frozen
from artoolkit.words import ChannelOrder, InputLayout

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
Positive = Annotated[float, Field(gt=0)]


class Preprocess(Frozen):
    """Preprocessing of a pixel in the graph: reorder the channels, then (value - mean) / std.

    `mean` and `std` are in units of 0-255 and in the order of `channel_order`.
    """

    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[Positive, Positive, Positive] = IMAGENET_STD
    channel_order: ChannelOrder = "rgb"


def fill_color(preprocess: Preprocess) -> tuple[int, int, int]:
    """The RGB color that padding gets: the mean that the network subtracts, rounded."""
    mean = preprocess.mean if preprocess.channel_order == "rgb" else preprocess.mean[::-1]
    return (round(mean[0]), round(mean[1]), round(mean[2]))


def fit_image(image: NDArray[np.uint8], size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """uint8 RGB H x W x 3 -> the same at `size_hw`, bilinear (antialiased when it shrinks)."""
    if image.shape[:2] == tuple(size_hw):
        return image
    resized = Image.fromarray(image).resize(size_hw[::-1], Image.Resampling.BILINEAR)
    return np.asarray(resized)


def fit_labels(labels: NDArray[np.uint8], size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """uint8 train ids H x W -> the same at `size_hw`, nearest neighbour: no id is invented.

    int32 ones, as some graphs give them, become uint8.
    """
    labels = labels.astype(np.uint8, copy=False)
    if labels.shape == tuple(size_hw):
        return labels
    resized = Image.fromarray(labels).resize(size_hw[::-1], Image.Resampling.NEAREST)
    return np.asarray(resized)


def as_taken(images_NHW3: NDArray[np.uint8], layout: InputLayout) -> NDArray[Any]:
    """uint8 RGB N x H x W x 3 as the graph takes them: as they are, or float32 N x 3 x H x W."""
    if layout == "nhwc_uint8":
        return images_NHW3
    return np.ascontiguousarray(images_NHW3.transpose(0, 3, 1, 2), np.float32)


def normalise(images_NHW3: NDArray[np.uint8], preprocess: Preprocess) -> NDArray[np.float32]:
    """uint8 RGB N x H x W x 3 -> float32 N x 3 x H x W, as the deployed graph does it."""
    ordered = images_NHW3 if preprocess.channel_order == "rgb" else images_NHW3[..., ::-1]
    mean = np.asarray(preprocess.mean, np.float32)
    std = np.asarray(preprocess.std, np.float32)
    normalised = (ordered.astype(np.float32) - mean) / std
    return np.ascontiguousarray(normalised.transpose(0, 3, 1, 2))
