"""NYU Depth v2 (Silberman et al., ECCV 2012), 40 classes (Gupta et al., CVPR 2013), color only.

    images/{train,val}/0001.png   labels/{train,val}/0001.png

as `artoolkit data prepare-nyuv2` writes it from the published .mat file: 795 images to train on,
654 to judge on, label files with 1-40 for the classes and 0 for void. Reads every PNG data set of
that layout and numbering.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from pathlib import Path

from artoolkit.data.dataset import Pairs, folder_at, in_usual_order
from artoolkit.data.listing import Listing, find_files, with_ending
from artoolkit.labels import VOID, Color, LabelTable

NAMES = (
    "wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf",
    "picture", "counter", "blinds", "desk", "shelves", "curtain", "dresser", "pillow", "mirror",
    "floor mat", "clothes", "ceiling", "books", "refrigerator", "television", "paper", "towel",
    "shower curtain", "box", "whiteboard", "person", "night stand", "toilet", "sink", "lamp",
    "bathtub", "bag", "otherstructure", "otherfurniture", "otherprop",
)  # fmt: skip


def _color(index: int) -> Color:
    """The data set has no official colors: eight hues at five brightnesses."""
    ring, hue = divmod(index, 8)
    channels = colorsys.hsv_to_rgb(hue / 8 + ring / 40, 0.45 + 0.1 * ring, 0.95 - 0.13 * ring)
    red, green, blue = (round(255 * channel) for channel in channels)
    return red, green, blue


LABELS = LabelTable(
    name="nyuv2",
    names=NAMES,
    colors=tuple(_color(i) for i in range(len(NAMES))),
    file_ids=tuple(range(1, len(NAMES) + 1)),
    void_ids=(0, VOID),
)


@dataclass(frozen=True)
class NYUv2(Pairs):
    """Sample names are the numbers of the .mat file from 0001 on."""

    root: Path
    name: str = "nyuv2"
    labels: LabelTable = LABELS

    def splits(self) -> tuple[str, ...]:
        images = folder_at(self.root, "images", "a prepared NYUv2")
        return in_usual_order({folder.name for folder in images.iterdir() if folder.is_dir()})

    def listing(self, split: str) -> Listing:
        if split not in self.splits():
            raise self.no_such_split(split)
        return Listing(*(find_files(self.root / part / split, with_ending(".png"))
                         for part in ("images", "labels")))  # fmt: skip
