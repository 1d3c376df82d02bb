"""Cityscapes in its official layout, 19 train ids (also what `artoolkit data synthesize` writes).

    leftImg8bit/<split>/<city>/<city>_<sequence>_<frame>_leftImg8bit.png
    gtFine/<split>/<city>/<city>_<sequence>_<frame>_gtFine_labelIds.png (or _labelTrainIds.png)

Names, ids, colors and what counts as void are those of cityscapesscripts.helpers.labels, which a
test compares. Polygons of id -1 (licence plates) are not drawn into the official label files; a
tool that draws them writes 255, which is therefore void.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from artoolkit.data.dataset import Pairs, Sample, folder_at, in_usual_order
from artoolkit.data.label_files import LabelForm
from artoolkit.data.listing import Files, Listing, find_files, with_ending
from artoolkit.labels import VOID, LabelTable
from artoolkit.words import CITYSCAPES_VARIABLE

_CLASSES: tuple[tuple[str, int, tuple[int, int, int]], ...] = (
    ("road", 7, (128, 64, 128)),
    ("sidewalk", 8, (244, 35, 232)),
    ("building", 11, (70, 70, 70)),
    ("wall", 12, (102, 102, 156)),
    ("fence", 13, (190, 153, 153)),
    ("pole", 17, (153, 153, 153)),
    ("traffic light", 19, (250, 170, 30)),
    ("traffic sign", 20, (220, 220, 0)),
    ("vegetation", 21, (107, 142, 35)),
    ("terrain", 22, (152, 251, 152)),
    ("sky", 23, (70, 130, 180)),
    ("person", 24, (220, 20, 60)),
    ("rider", 25, (255, 0, 0)),
    ("car", 26, (0, 0, 142)),
    ("truck", 27, (0, 0, 70)),
    ("bus", 28, (0, 60, 100)),
    ("train", 31, (0, 80, 100)),
    ("motorcycle", 32, (0, 0, 230)),
    ("bicycle", 33, (119, 11, 32)),
)

LABELS = LabelTable(
    name="cityscapes",
    names=tuple(name for name, _, _ in _CLASSES),
    colors=tuple(color for _, _, color in _CLASSES),
    file_ids=tuple(label_id for _, label_id, _ in _CLASSES),
    void_ids=(0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30, VOID),
)
# What createTrainIdLabelImgs.py writes.
TRAIN_ID_LABELS = LabelTable(
    name="cityscapes train ids",
    names=LABELS.names,
    colors=LABELS.colors,
    file_ids=tuple(range(LABELS.num_classes)),
)

IMAGE_ENDING = "_leftImg8bit.png"
LABEL_IDS_ENDING, TRAIN_IDS_ENDING = "_gtFine_labelIds.png", "_gtFine_labelTrainIds.png"


def root_from_environment() -> Path | None:
    """The folder that CITYSCAPES_DATASET names, as in cityscapesScripts."""
    value = os.environ.get(CITYSCAPES_VARIABLE)
    return Path(value) if value else None


@dataclass(frozen=True)
class Cityscapes(Pairs):
    """Sample names are `<city>_<sequence>_<frame>`."""

    root: Path
    name: str = "cityscapes"
    labels: LabelTable = LABELS

    def splits(self) -> tuple[str, ...]:
        images = folder_at(self.root, "leftImg8bit", "Cityscapes")
        return in_usual_order({folder.name for folder in images.iterdir() if folder.is_dir()})

    def listing(self, split: str) -> Listing:
        if split not in self.splits():
            raise self.no_such_split(split)
        truth = self.root / "gtFine" / split
        official = find_files(truth, with_ending(LABEL_IDS_ENDING, depth=2))
        train_ids = find_files(truth, with_ending(TRAIN_IDS_ENDING, depth=2))
        # Where a file exists in both forms, the official one is read.
        labels = Files(train_ids.paths | official.paths, (), official.remarks)
        images = self.root / "leftImg8bit" / split
        return Listing(find_files(images, with_ending(IMAGE_ENDING, depth=2)), labels)

    def form_of(self, label: Path) -> LabelForm:
        if label.name.endswith(TRAIN_IDS_ENDING):
            return LabelForm(TRAIN_ID_LABELS)
        return LabelForm(self.labels, refuses_train_ids=True)

    def prediction_name(self, sample: Sample) -> str:
        """The test server and cityscapesScripts look for `<city>_<sequence>_<frame>*.png`."""
        return f"{sample.name}_pred_labelIds.png"
