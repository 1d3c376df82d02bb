"""Random changes of a training image and, in step, of its labels: window, color, flip, rotation.

Only the window of the source that becomes the crop is touched: a crop of h x w at scale s is a
source window of h/s x w/s, so that no scaled copy of a whole image is ever made. Images are resized
bilinearly, labels only ever by nearest neighbour (resizing ids bilinearly invents classes), and
both with pixel centres in the same place (`INTER_NEAREST` of OpenCV would shift the labels).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from artoolkit.labels import VOID
from artoolkit.training.recipe import Augmentation

Pixels = NDArray[np.uint8]
BLUR_KERNEL = (5, 5)  # hszhao/semseg's RandomGaussianBlur


@dataclass(frozen=True)
class Transform:
    """uint8 RGB H x W x 3 and uint8 labels H x W -> both at the crop's size, contiguous.

    Pixels from outside the image have the color `fill` and the label 255.
    """

    augmentation: Augmentation
    fill: tuple[int, int, int]

    def __call__(
        self, image: Pixels, labels: Pixels, rng: np.random.Generator
    ) -> tuple[Pixels, Pixels]:
        settings = self.augmentation
        top, left, height, width = self._window(image.shape[:2], rng)
        rows, columns = _inside(top, height, len(image)), _inside(left, width, image.shape[1])
        image = _recolor(image[rows, columns], settings, rng)
        labels = labels[rows, columns]
        if (height, width) != image.shape[:2]:
            image, labels = self._padded(image, labels, (top, left, height, width), rows, columns)
        image, labels = _resized(image, labels, settings.crop)
        if settings.rotate_degrees:
            image, labels = self._rotated(image, labels, rng)
        if settings.blur and rng.random() < settings.blur:
            image = np.asarray(cv2.GaussianBlur(image, BLUR_KERNEL, 0), np.uint8)
        if rng.random() < settings.flip:
            # OpenCV mirrors in a fortieth of the time that numpy takes to copy such a view.
            image = np.asarray(cv2.flip(image, 1), np.uint8)
            labels = np.asarray(cv2.flip(labels, 1), np.uint8)
        return np.ascontiguousarray(image), np.ascontiguousarray(labels)

    def _window(
        self, size_hw: tuple[int, ...], rng: np.random.Generator
    ) -> tuple[int, int, int, int]:
        """Top, left, height and width in source pixels; partly outside where it is larger."""
        scale = float(np.exp(rng.uniform(*np.log(self.augmentation.scale))))
        height, width = (max(1, round(side / scale)) for side in self.augmentation.crop)
        top, left = (
            int(rng.integers(min(0, slack), max(0, slack) + 1))
            for slack in (size_hw[0] - height, size_hw[1] - width)
        )
        return top, left, height, width

    def _padded(
        self,
        image: Pixels,
        labels: Pixels,
        window: tuple[int, int, int, int],
        rows: slice,
        columns: slice,
    ) -> tuple[Pixels, Pixels]:
        top, left, height, width = window
        margins = (
            rows.start - top,
            top + height - rows.stop,
            columns.start - left,
            left + width - columns.stop,
        )
        padded = cv2.copyMakeBorder(image, *margins, cv2.BORDER_CONSTANT, value=self.fill)
        void = cv2.copyMakeBorder(labels, *margins, cv2.BORDER_CONSTANT, value=VOID)
        return np.asarray(padded, np.uint8), np.asarray(void, np.uint8)

    def _rotated(
        self, image: Pixels, labels: Pixels, rng: np.random.Generator
    ) -> tuple[Pixels, Pixels]:
        height, width = labels.shape
        limit = self.augmentation.rotate_degrees
        centre = ((width - 1) / 2, (height - 1) / 2)
        matrix = cv2.getRotationMatrix2D(centre, rng.uniform(-limit, limit), 1.0)
        turned = cv2.warpAffine(
            image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=self.fill
        )
        turned_labels = cv2.warpAffine(
            labels, matrix, (width, height), flags=cv2.INTER_NEAREST, borderValue=VOID
        )
        return np.asarray(turned, np.uint8), np.asarray(turned_labels, np.uint8)


def _inside(start: int, length: int, limit: int) -> slice:
    return slice(max(0, start), min(limit, start + length))


def _resized(image: Pixels, labels: Pixels, size_hw: tuple[int, int]) -> tuple[Pixels, Pixels]:
    if labels.shape == size_hw:
        return image, labels
    size = (size_hw[1], size_hw[0])
    return (
        np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8),
        np.asarray(cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT), np.uint8),
    )


def _recolor(image: Pixels, settings: Augmentation, rng: np.random.Generator) -> Pixels:
    """Saturation, then contrast around the window's mean and brightness in one table."""
    if settings.saturation:
        factor = 1 + rng.uniform(-settings.saturation, settings.saturation)
        grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        image = np.asarray(cv2.addWeighted(image, factor, grey, 1 - factor, 0), np.uint8)
    if settings.contrast or settings.brightness:
        contrast = 1 + rng.uniform(-settings.contrast, settings.contrast)
        brightness = 1 + rng.uniform(-settings.brightness, settings.brightness)
        middle = float(image.mean()) if settings.contrast else 0.0
        values = ((np.arange(256) - middle) * contrast + middle) * brightness
        table = np.clip(np.rint(values), 0, 255).astype(np.uint8)
        image = np.asarray(cv2.LUT(image, table), np.uint8)
    return image
