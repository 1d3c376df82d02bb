"""Interface of every data set (`DataSet`), and the base of those with image files (`Pairs`).

A data set made of files says where its pairs lie (`listing`) and how a label file is to be read
(`form_of`); everything else follows from that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from artoolkit.data.image_files import read_rgb, read_size
from artoolkit.data.label_files import LabelForm, read_train_ids
from artoolkit.data.listing import Listing
from artoolkit.errors import DataError
from artoolkit.labels import LabelTable


@dataclass(frozen=True)
class Sample:
    """One image and, except in a split without labels, its label file."""

    name: str
    image: Path
    label: Path | None = None


class DataSet(Protocol):
    """Images with labels in splits. Every failure is a `DataError` that names the file."""

    @property
    def name(self) -> str:
        """One of `words.DATASETS`."""

    @property
    def root(self) -> Path:
        """The folder that holds everything."""

    @property
    def labels(self) -> LabelTable:
        """Classes in train-id order; `file_ids` are those that predictions are written in."""

    def splits(self) -> tuple[str, ...]:
        """The splits found under the root."""

    def samples(self, split: str) -> tuple[Sample, ...]:
        """All samples of a split, sorted by name; never none."""

    def read_image(self, sample: Sample) -> NDArray[np.uint8]:
        """uint8 RGB H x W x 3, possibly read-only."""

    def read_label(self, sample: Sample) -> NDArray[np.uint8]:
        """uint8 train ids H x W (255 void) of the image's size, possibly read-only."""

    def prediction_name(self, sample: Sample) -> str:
        """Path of a predicted label map (in `labels.file_ids`) below the folder of all."""


class Pairs(ABC):
    """A data set of image files and label files. Subclasses are frozen dataclasses."""

    name: str
    root: Path
    labels: LabelTable

    @abstractmethod
    def splits(self) -> tuple[str, ...]:
        """The splits found under the root; `DataError` if the root is not such a data set."""

    @abstractmethod
    def listing(self, split: str) -> Listing:
        """The files of a split; `DataError` if there is no such split."""

    def form_of(self, label: Path) -> LabelForm:
        """Form in which the file `label` is read."""
        return LabelForm(self.labels)

    def samples(self, split: str) -> tuple[Sample, ...]:
        files = self.listing(split)
        if not files.images:
            raise DataError(f"split {split} of {self.name} at {self.root} is empty",
                            hint="Check --data-root.")  # fmt: skip
        if files.clashes:
            raise DataError(
                f"{len(files.clashes)} names in split {split} stand for several files",
                got=files.clashes[0],
                hint="Rename or remove one of them.",
            )
        # A split without any label (a test set) can still be predicted.
        missing = files.without_label if files.labels else ()
        if missing:
            raise DataError(
                f"{len(missing)} of {len(files.images)} images in split {split} have no label",
                got=f"none for {', '.join(missing[:3])}{' ...' if len(missing) > 3 else ''}",
                hint=f"artoolkit data check {self.root} --dataset {self.name} lists all.",
            )
        return tuple(Sample(n, files.images[n], files.labels.get(n)) for n in sorted(files.images))

    def read_image(self, sample: Sample) -> NDArray[np.uint8]:
        return read_rgb(sample.image)

    def read_label(self, sample: Sample) -> NDArray[np.uint8]:
        if sample.label is None:
            raise DataError(f"{sample.name} has no label", hint="Choose a split with labels.")
        labels = read_train_ids(sample.label, self.form_of(sample.label))
        size = read_size(sample.image)
        if labels.shape != size:
            raise DataError(
                f"label {sample.label} and its image differ in size",
                got="{} x {}".format(*labels.shape),
                expected="{} x {} (height x width), as the image has".format(*size),
            )
        return labels

    def prediction_name(self, sample: Sample) -> str:
        return f"{sample.name}.png"

    def no_such_split(self, split: str, also: str = "") -> DataError:
        return DataError(
            f"{self.name} at {self.root} has no split {split}",
            expected=" or ".join(self.splits()) + also,
        )


def spread(samples: Sequence[Sample], count: int) -> Sequence[Sample]:
    """`count` of them at even distances, or all where there are fewer."""
    step = max(1, len(samples) // count)
    return samples[step // 2 :: step][:count]


def folder_at(root: Path, inside: str, name: str) -> Path:
    """`root/inside`, or a `DataError` that says what a data set `name` needs."""
    if not root.is_dir():
        raise DataError(f"no data set at {root}", expected="a folder", hint="Check --data-root.")
    folder = root / inside
    if not folder.is_dir():
        raise DataError(f"{root} is not {name}", expected=f"a folder {inside}/ in it",
                        hint="Check --data-root and --dataset.")  # fmt: skip
    return folder


def in_usual_order(splits: set[str]) -> tuple[str, ...]:
    """train, val, test first, then the rest by name."""
    usual = [s for s in ("train", "val", "test") if s in splits]
    return (*usual, *sorted(splits - set(usual)))
