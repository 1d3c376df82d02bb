"""Class weights from the training labels, for the rules that a recipe can name."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from artoolkit.cores import usable_cores
from artoolkit.data import DataSet, Sample
from artoolkit.labels import VOID
from artoolkit.words import Balancing


def class_weights(
    rule: Balancing, dataset: DataSet, samples: Sequence[Sample]
) -> tuple[float, ...]:
    """One weight per class with a mean of 1 over the classes that occur; 1 for the others.

    `median-frequency` (Eigen and Fergus, ICCV 2015): the share of a class among the labelled pixels
    of the images that hold it; the median of the shares over it. `effective-number` (Cui et al.,
    CVPR 2019): (1 - beta) / (1 - beta^n) for n pixels; beta is 1 - 1 / N with N, the mean number of
    pixels per class, so that the weights do not depend on the size of the images.
    """
    counts = pixel_counts(dataset, samples)
    pixels = counts.sum(0)
    found = pixels > 0
    if rule == "median-frequency":
        held = (counts > 0) * counts.sum(1, keepdims=True)
        shares = pixels[found] / held.sum(0)[found]
        weights = np.median(shares) / shares
    else:
        weights = 1 / -np.expm1(-pixels[found] / pixels[found].mean())
    every = np.ones(len(pixels))
    every[found] = weights / weights.mean()
    return tuple(float(weight) for weight in every)


def pixel_counts(dataset: DataSet, samples: Sequence[Sample]) -> NDArray[np.int64]:
    """Labelled pixels of each class in each image: images x classes."""
    classes = dataset.labels.num_classes

    def count(sample: Sample) -> NDArray[np.int64]:
        labels = dataset.read_label(sample)
        found: NDArray[np.int64] = np.bincount(labels[labels != VOID], minlength=classes)
        return found

    # Decoding takes nearly all of the time, and leaves the interpreter alone.
    with ThreadPoolExecutor(usable_cores()) as pool:
        return np.stack(list(pool.map(count, samples)))
