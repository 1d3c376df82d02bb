"""Label maps over their images, as one looks at them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from artoolkit.labels import LabelTable


def overlay(
    image: NDArray[np.uint8], labels: NDArray[np.uint8], table: LabelTable, *, opacity: float = 0.55
) -> NDArray[np.uint8]:
    """uint8 RGB H x W x 3: the classes' colors over the image, void left as it is.

    `labels`: uint8 train ids H x W of the image's size; `opacity` of the colors in [0, 1].
    Raises `ValueError` if the sizes differ.
    """
    if image.shape[:2] != labels.shape:
        raise ValueError(f"image {image.shape[:2]} and labels {labels.shape} differ in size")
    shown = Image.fromarray(image)
    colors = Image.fromarray(table.colorize(labels))
    known = Image.fromarray(labels < table.num_classes)
    return np.asarray(Image.composite(Image.blend(shown, colors, opacity), shown, known))
