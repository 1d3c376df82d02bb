"""Check that a data set is whole and its labels are plausible: read everything, report all.

Problems would stop a run: missing partners, files that do not decode, labels of another size than
their image, ids that the data set does not have. Warnings are what a run goes on with and a person
should know. Notes say what was done about a file's own ways.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from artoolkit.data.dataset import Pairs, Sample, spread
from artoolkit.data.image_files import inspect_image
from artoolkit.data.label_files import LabelFacts, inspect_label
from artoolkit.data.listing import Listing, counted, readable
from artoolkit.data.twins import shared_images
from artoolkit.errors import DataError
from artoolkit.labels import VOID, LabelTable

Counts = NDArray[np.int64]
# A test set may lack labels and classes, and a data set has further splits that lack them.
_LABELLED = ("train", "training", "val", "validation")
# Samples handed to a thread together: handing over takes a tenth of a small label's time.
_AT_ONCE = 8
_BINARY = frozenset({0, VOID})


@dataclass(frozen=True)
class SplitReport:
    """Contents of a split.

    `class_pixels` and `class_images` have one entry a class and, last, one for void: pixels with
    that label, and images that have any. `sizes_hw` counts the images of each height and width, as
    they are shown. `looked_at` is the number of labels that this is taken from.
    """

    split: str
    images: int
    labels: int
    looked_at: int
    sizes_hw: dict[tuple[int, int], int]
    class_pixels: Counts
    class_images: Counts
    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def is_labelled(self) -> bool:
        """True if any examined pixel belongs to a class."""
        return bool(self.class_pixels[:-1].any())


class _Seen(NamedTuple):
    """Contribution of one sample to the report."""

    sample: Sample
    size_hw: tuple[int, int] | None
    orientation: int
    label: LabelFacts | None
    problems: tuple[str, ...]


def check_dataset(
    dataset: Pairs,
    *,
    splits: Sequence[str] = (),
    workers: int = 2,
    decode_images: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[SplitReport, ...]:
    """Read every label of `splits` (all by default) and every image's header, in `workers` threads.

    With `decode_images` the images' pixels are read too, which finds damage inside a PNG or JPEG.
    `progress` is called now and then with the number of samples read and the total. Raises
    `DataError` if the root or a split does not exist; everything else that is wrong is a problem in
    the report.
    """
    listings = {split: dataset.listing(split) for split in splits or dataset.splits()}
    total = sum(len(listing.images) for listing in listings.values())
    reports: list[SplitReport] = []
    seen: dict[str, list[_Seen]] = {}
    with ThreadPoolExecutor(workers) as pool:  # Pillow decodes outside Python's lock
        for split, listing in listings.items():
            labels = listing.labels
            samples = [Sample(n, p, labels.get(n)) for n, p in sorted(listing.images.items())]
            before, seen[split] = sum(map(len, seen.values())), []
            parts = [samples[i : i + _AT_ONCE] for i in range(0, len(samples), _AT_ONCE)]
            for part in pool.map(
                lambda part: [_inspected(dataset, one, decode=decode_images) for one in part], parts
            ):
                seen[split] += part
                if progress is not None:
                    progress(before + len(seen[split]), total)
            reports.append(_report(dataset.labels, split, listing, seen[split]))
    images = {
        split: [(one.sample, one.label.digest if one.label else 0) for one in found if one.size_hw]
        for split, found in seen.items()
    }
    shared = shared_images(images)
    return tuple(replace(r, warnings=(*r.warnings, *shared.get(r.split, ()))) for r in reports)


def glance(dataset: Pairs, role: str, listing: Listing, *, most: int) -> SplitReport:
    """The report on at most `most` labels at even distances, images unread; for a run's beginning.

    Where none of them holds a labelled pixel, all the others are looked at too.
    """
    labelled = [Sample(n, listing.images[n], p) for n, p in sorted(listing.labels.items())
                if n in listing.images]  # fmt: skip
    with ThreadPoolExecutor() as pool:
        for samples in (spread(labelled, most), labelled):
            seen = [*pool.map(lambda sample: _inspected(dataset, sample, images=False), samples)]
            report = _report(dataset.labels, role, listing, seen)
            if report.is_labelled:
                break
    return report


def _inspected(
    dataset: Pairs, sample: Sample, *, images: bool = True, decode: bool = False
) -> _Seen:
    problems, size, orientation, label = list[str](), None, 1, None
    if images:
        try:
            size, orientation = inspect_image(sample.image, decode=decode)
        except DataError as error:
            problems.append(str(error))
    if sample.label is not None:
        try:
            label = inspect_label(sample.label, dataset.form_of(sample.label))
        except DataError as error:
            problems.append(str(error))
        else:
            problems += label.problems
            if size is not None and label.size_hw != size:
                problems.append(_differs(sample.label, label.size_hw, size, orientation))
    return _Seen(sample, size, orientation, label, tuple(problems))


def _differs(
    label: Path, size: tuple[int, int], expected: tuple[int, int], orientation: int
) -> str:
    turned = f", shown as its EXIF orientation {orientation} says" if orientation > 1 else ""
    return (f"label {readable(label)} is {size[0]} x {size[1]}, its image {expected[0]} x "
            f"{expected[1]} (height x width{turned})")  # fmt: skip


def _report(table: LabelTable, split: str, files: Listing, seen: Sequence[_Seen]) -> SplitReport:
    classes = table.num_classes
    pixels, images = np.zeros(classes + 1, np.int64), np.zeros(classes + 1, np.int64)
    labels = [one.label for one in seen if one.label is not None]
    for label in labels:
        counts = np.append(label.counts[:classes], label.counts[VOID])
        pixels, images = pixels + counts, images + (counts > 0)
    report = SplitReport(
        split=split,
        images=len(files.images),
        labels=len(files.labels),
        looked_at=len(labels),
        sizes_hw=dict(Counter(one.size_hw for one in seen if one.size_hw is not None)),
        class_pixels=pixels,
        class_images=images,
        problems=(*_partners(split, files), *(text for one in seen for text in one.problems)),
        warnings=(),
        notes=tuple(_notes(seen)),
    )
    paired = len(files.labels) - len(files.without_image)
    found = (*files.remarks, *_unlike_names(files), *_odd_labels(table, report, labels, paired))
    return replace(report, warnings=found)


def _partners(split: str, files: Listing) -> Iterator[str]:
    if not files.images:
        yield f"split {split} has no image"
    yield from files.clashes
    if files.labels:  # a split without any label can still be predicted
        yield from (f"image {readable(files.images[n])} has no label" for n in files.without_label)
    yield from (f"label {readable(files.labels[n])} has no image" for n in files.without_image)


def _unlike_names(files: Listing) -> Iterator[str]:
    def is_composed(path: Path) -> bool:
        return unicodedata.is_normalized("NFC", path.name)

    pairs = [(path, files.labels[n]) for n, path in files.images.items() if n in files.labels]
    unlike = [image for image, label in pairs if is_composed(image) != is_composed(label)]
    if unlike:
        yield (
            f"{counted(len(unlike), 'image')} paired with a label whose name is the same in "
            f"another Unicode form: {readable(unlike[0])}{' ...' if len(unlike) > 1 else ''}"
        )


def _odd_labels(
    table: LabelTable, report: SplitReport, labels: Sequence[LabelFacts], paired: int
) -> Iterator[str]:
    """Warnings about labels of a split that can all be read."""
    ids = frozenset[int]().union(*(label.ids for label in labels))
    if not report.labels:
        if report.split in _LABELLED:
            yield "no image has a label"
        return
    if not report.is_labelled:
        yield "every pixel is void"
    if ids == _BINARY and VOID in table.void_ids:
        yield (
            "the labels hold nothing but 0 and 255, and 255 is void: where it stands for a class, "
            "give that class id = 255 and say void = []"
        )
    is_plain = table.file_ids == tuple(range(table.num_classes))
    if {0, VOID} <= ids and not is_plain and max(ids - {VOID}) < table.num_classes:
        yield f"the labels hold 0 to {max(ids - {VOID})} and 255, as train ids do"
    if report.is_labelled and not report.split.startswith("test"):
        counts = report.class_pixels[:-1]
        missing = [name for name, count in zip(table.names, counts, strict=True) if not count]
        some = f" in {len(labels)} of {paired} labels" if len(labels) < paired else ""
        if missing:
            what = "class" if len(missing) == 1 else f"{len(missing)} classes"
            yield f"{what} without a pixel{some}: {', '.join(missing)}"
    if slivers := sum(label.has_slivers for label in labels):
        yield (
            f"{counted(slivers, 'label')} with slivers of other ids along the borders, as resizing "
            "with interpolation makes them: resize labels with the nearest neighbor"
        )


def _notes(seen: Sequence[_Seen]) -> Iterator[str]:
    turned = Counter(one.orientation for one in seen if one.orientation > 1)
    if turned:
        which = ", ".join(f"{count} of orientation {o}" for o, count in sorted(turned.items()))
        yield f"{counted(turned.total(), 'image')} turned by EXIF and read as shown: {which}"
    read = Counter(one.label.note for one in seen if one.label is not None and one.label.note)
    yield from (f"{counted(count, 'label')} {note}" for note, count in read.items())
