"""Mapillary Vistas 1.2 and 2.0: the classes are those of the set's own config_v*.json.

Layout: mapillary.com/dataset/vistas. A label PNG holds places in the list of that file;
what it does not evaluate is void. Splits are `training` and `validation`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from artoolkit.data.convert.source import Pair, Pixels, Settings, Source, json_at
from artoolkit.data.label_files import LabelForm, read_train_ids
from artoolkit.data.listing import images_below
from artoolkit.errors import DataError
from artoolkit.files import reading
from artoolkit.labels import VOID, LabelTable

SPLITS = {"train": "training", "val": "validation"}


def folder(root: Path, settings: Settings) -> Source:
    """The newest version that lies at `root`."""
    configs = sorted(root.glob("config_v*.json"))
    if not configs:
        raise DataError(f"{root} is not Mapillary Vistas", expected="a file config_v*.json in it")
    config = configs[-1]
    version = config.stem.removeprefix("config_")
    with reading(config, DataError, what="classes"):
        labels = json_at(config)["labels"]
        wanted = [i for i, one in enumerate(labels) if one["evaluate"]]
        table = LabelTable(
            name="vistas",
            names=tuple(labels[i]["readable"] for i in wanted),
            colors=tuple(tuple(labels[i]["color"]) for i in wanted),
            file_ids=tuple(wanted),
            void_ids=(*(i for i in range(len(labels)) if i not in wanted), VOID),
        )
    splits = {}
    for split, place in SPLITS.items():
        # Version 1.2 has its labels beside the images, 2.0 one folder further down.
        places = (root / place / version / "labels", root / place / "labels")
        found = [path for path in places if path.is_dir()]
        if found:
            splits[split] = [
                Pair(image.stem, image, partial(_label, found[0] / f"{image.stem}.png", table))
                for image in images_below(root / place / "images")
            ]
    return Source("vistas", table.names, splits, table.colors)


def _label(path: Path, table: LabelTable) -> Pixels:
    return np.asarray(read_train_ids(path, LabelForm(table, by="id")))
