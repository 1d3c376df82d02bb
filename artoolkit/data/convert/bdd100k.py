"""BDD100K's semantic segmentation: Cityscapes' nineteen train ids, 255 void.

Layout and ids: doc.bdd100k.com/format.html, "Semantic Segmentation": labels/sem_seg/masks/SPLIT and
images/10k/SPLIT; the first release had seg/images and seg/labels with names *_train_id.png.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from artoolkit.data.cityscapes import TRAIN_ID_LABELS
from artoolkit.data.convert.source import Pair, Settings, Source
from artoolkit.data.label_files import LabelForm, read_train_ids
from artoolkit.data.listing import images_below
from artoolkit.errors import DataError

SPLITS = ("train", "val")
PLACES = (("images/10k", "labels/sem_seg/masks", ""), ("seg/images", "seg/labels", "_train_id"))


def sem_seg(root: Path, settings: Settings) -> Source:
    """Either release at `root`."""
    form = LabelForm(TRAIN_ID_LABELS, by="id")
    for images, labels, ending in PLACES:
        splits = {
            split: [
                Pair(
                    image.stem,
                    image,
                    partial(read_train_ids, folder / f"{image.stem}{ending}.png", form),
                )
                for image in images_below(root / images / split)
            ]
            for split in SPLITS
            if (folder := root / labels / split).is_dir()
        }
        if splits:
            return Source("bdd100k", TRAIN_ID_LABELS.names, splits, TRAIN_ID_LABELS.colors)
    raise DataError(f"{root} is not BDD100K", expected=" or ".join(p[1] for p in PLACES))
