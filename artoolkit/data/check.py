"""Is a data set whole? Counts what is there and names every file that would stop a run.

Missing partners, files that do not decode to the end, labels of another size than their image, and
label ids that the data set does not have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from artoolkit.data.dataset import Listing, Pairs
from artoolkit.data.pictures import read_rgb, read_train_ids
from artoolkit.errors import DataError
from artoolkit.labels import VOID

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class SplitReport:
    """What a split holds.

    `class_pixels` and `class_images` have one entry a class and, last, one for void: pixels with
    that label, and images that have any. `sizes_hw` counts the images of each height and width.
    """

    split: str
    images: int
    labels: int
    sizes_hw: dict[tuple[int, int], int]
    class_pixels: Counts
    class_images: Counts
    problems: tuple[str, ...]


@dataclass(frozen=True)
class _Pair:
    """What one sample adds to the report."""

    size_hw: tuple[int, int] | None
    pixels: Counts | None
    problems: tuple[str, ...]


def check_dataset(
    dataset: Pairs,
    *,
    splits: Sequence[str] = (),
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[SplitReport, ...]:
    """Read every file of `splits` (all by default) in `workers` threads.

    `progress` is called with the number of samples read and the total. Raises `DataError` if the
    root or a split does not exist; everything else that is wrong is a problem in the report.
    """
    listings = {split: dataset.listing(split) for split in splits or dataset.splits()}
    total = sum(len(listing.images) for listing in listings.values())
    reports, done = [], 0
    with ThreadPoolExecutor(workers) as pool:  # Pillow decodes outside Python's lock
        for split, listing in listings.items():
            pairs = []
            for pair in pool.map(lambda n, f=listing: _read(dataset, f, n), sorted(listing.images)):
                pairs.append(pair)
                done += 1
                if progress is not None:
                    progress(done, total)
            reports.append(_summed(dataset, split, listing, pairs))
    return tuple(reports)


def _read(dataset: Pairs, files: Listing, name: str) -> _Pair:
    problems, size, pixels = [], None, None
    try:
        height, width, _ = read_rgb(files.images[name]).shape
        size = height, width
    except DataError as error:
        problems.append(str(error))
    label = files.labels.get(name)
    if label is not None:
        try:
            ids = read_train_ids(label, dataset.table_of(label))
        except DataError as error:
            problems.append(str(error))
        else:
            pixels = np.bincount(ids.ravel(), minlength=256)
            if size is not None and ids.shape != size:
                problems.append(_differs(label, (ids.shape[0], ids.shape[1]), size))
    return _Pair(size, pixels, tuple(problems))


def _differs(label: Path, size: tuple[int, int], expected: tuple[int, int]) -> str:
    return (f"label {label} is {size[0]} x {size[1]}, its image {expected[0]} x {expected[1]} "
            "(height x width)")  # fmt: skip


def _summed(dataset: Pairs, split: str, files: Listing, pairs: Sequence[_Pair]) -> SplitReport:
    classes = dataset.labels.num_classes
    pixels, images = np.zeros(classes + 1, np.int64), np.zeros(classes + 1, np.int64)
    sizes: dict[tuple[int, int], int] = {}
    for pair in pairs:
        if pair.size_hw is not None:
            sizes[pair.size_hw] = sizes.get(pair.size_hw, 0) + 1
        if pair.pixels is not None:
            counts = np.append(pair.pixels[:classes], pair.pixels[VOID])
            pixels, images = pixels + counts, images + (counts > 0)
    problems = (*_partners(split, files), *(text for pair in pairs for text in pair.problems))
    return SplitReport(split, len(files.images), len(files.labels), sizes, pixels, images, problems)


def _partners(split: str, files: Listing) -> Iterator[str]:
    if not files.images:
        yield f"split {split} has no image"
    if files.labels:  # a split without any label can still be predicted
        yield from (f"image {files.images[name]} has no label" for name in files.without_label)
    yield from (f"label {files.labels[name]} has no image" for name in files.without_image)
