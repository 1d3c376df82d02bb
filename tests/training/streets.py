"""A data set without files: stripes of three colours whose labels are the colours, and void."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from artoolkit.data import Sample
from artoolkit.errors import DataError
from artoolkit.labels import VOID, LabelTable

COLORS = ((200, 40, 40), (40, 200, 40), (40, 40, 200))
TABLE = LabelTable(name="streets", names=("a", "b", "c"), colors=COLORS, file_ids=(0, 1, 2))
SIZE = (40, 56)
# A recipe that trains on them in a second.
TINY = {
    "name": "tiny",
    "seed": 3,
    "network": {"name": "icnet", "options": {"width": 0.125}},
    "augmentation": {"crop": [32, 48], "scale": [0.5, 2.0], "contrast": 0.2},
    "schedule": {"epochs": 2, "batch_size": 2},
    "optimizer": {"lr": 0.02},
    "execution": {"precision": "fp32"},
}


@dataclass(frozen=True)
class Streets:
    """`count` training images and two for validation; `broken` fails, `deadly` kills its reader.

    `lopsided`: every other image is half void.
    """

    count: int = 6
    broken: str | None = None
    deadly: str | None = None
    lopsided: bool = False
    name: str = "streets"
    root: Path = Path("nowhere")
    labels: LabelTable = TABLE

    def splits(self) -> tuple[str, ...]:
        return ("train", "val")

    def samples(self, split: str) -> tuple[Sample, ...]:
        if split not in self.splits():
            raise DataError(f"no split {split}")
        count = self.count if split == "train" else 2
        return tuple(Sample(f"{split}_{i}", Path(f"{split}_{i}.png")) for i in range(count))

    def read_label(self, sample: Sample) -> NDArray[np.uint8]:
        split, _, number = sample.name.partition("_")
        rng = np.random.default_rng([split == "val", int(number)])
        labels = np.repeat(rng.integers(0, 3, SIZE[0] // 8), 8)[:, None].repeat(SIZE[1], 1)
        labels[:, :4] = VOID
        if self.lopsided and int(number) % 2:
            labels[:, SIZE[1] // 2 :] = VOID
        return labels.astype(np.uint8)

    def read_image(self, sample: Sample) -> NDArray[np.uint8]:
        if sample.name == self.broken:
            raise DataError(f"image {sample.image} cannot be read: truncated")
        if sample.name == self.deadly:
            os._exit(1)
        return TABLE.colorize(dataclasses.replace(self, lopsided=False).read_label(sample))

    def prediction_name(self, sample: Sample) -> str:
        return f"{sample.name}.png"
