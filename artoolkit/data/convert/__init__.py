"""Annotations in the forms that people have them -> a described folder (`folder.py`).

One file a form; each reads a source into a `Source`, and `convert` writes every source the same
way. A form is one function and one line in `FORMS`.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from artoolkit.data.convert import a2d2, bdd100k, coco, huggingface, vistas, yolo
from artoolkit.data.convert.source import Pair, Settings, Source
from artoolkit.data.folder import FolderSpec
from artoolkit.data.image_files import read_size, write_png
from artoolkit.data.listing import readable
from artoolkit.errors import DataError
from artoolkit.evidence.seal import write_atomically
from artoolkit.files import faults_of
from artoolkit.labels import MAX_CLASSES, VOID, Color
from artoolkit.optional import require
from artoolkit.spec import problems, read_toml

FORMS: dict[str, Callable[[Path, Settings], Source]] = {
    "coco-panoptic": coco.panoptic,
    "coco-instances": coco.instances,
    "yolo": yolo.polygons,
    "vistas": vistas.folder,
    "bdd100k": bdd100k.sem_seg,
    "a2d2": a2d2.folder,
    "huggingface": huggingface.columns,
}
CLASSES = "classes.toml"


def convert(
    form: str,
    source: Path,
    out: Path,
    settings: Settings,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, int]:
    """Write `source` to the described folder `out`; returns the number of images by split.

    Images are linked where the disk can, else copied; labels are PNG of ids, the places of the
    classes in the list, 255 void. A split that is written later is added where the classes are the
    same. Raises `DataError` for whatever the source lacks, for more than 254 classes, and where
    `out` holds the split already or other classes.
    """
    found = FORMS[form](source, settings)
    if not 1 <= len(found.names) <= MAX_CLASSES:
        raise DataError(f"{source} has no usable classes", got=f"{len(found.names)} classes",
                        expected=f"1 to {MAX_CLASSES}")  # fmt: skip
    described = _described(found, out)
    try:
        FolderSpec.model_validate(described)
    except ValidationError as error:
        wrong = problems(error, FolderSpec)
        raise DataError(f"{source} has no usable classes: {wrong}") from error
    counts = dict[str, int]()
    total = sum(map(len, found.splits.values()))
    for split, pairs in found.splits.items():
        if not pairs:
            raise DataError(f"{source} has no image with a label in {split}")
        if twice := [n for n, count in Counter(pair.name for pair in pairs).items() if count > 1]:
            raise DataError(f"{source} has two images for one name in {split}", got=twice[0])
        for pair in pairs:
            _write(pair, out / split)
            counts[split] = counts.get(split, 0) + 1
            progress(sum(counts.values()), total)
    # Last, so that what was interrupted is no data set.
    text = require("tomlkit", "writing classes.toml").dumps(described)
    write_atomically(out / CLASSES, text.encode())
    return counts


def _described(found: Source, out: Path) -> dict[str, object]:
    """The contents of classes.toml, with the splits that it has already."""
    colors: Sequence[Color | None] = found.colors or [None] * len(found.names)
    classes = [
        {"name": name} | ({} if color is None else {"color": list(color)})
        for name, color in zip(found.names, colors, strict=True)
    ]
    before = read_toml(out / CLASSES, "class list") if (out / CLASSES).is_file() else {}
    splits = dict(before.get("splits", {}))
    if before and before.get("classes") != classes:
        raise DataError(f"{out} holds a data set of other classes", hint="Choose another OUT.")
    if twice := sorted(splits.keys() & found.splits.keys()):
        raise DataError(f"{out} holds a split {twice[0]} already", hint="Give another --split.")
    for split in found.splits:
        splits[split] = {"images": f"{split}/images", "labels": f"{split}/labels"}
    return {
        "name": found.name,
        "void": [VOID],
        "patterns": {"image": "*", "label": "*.png"},  # a.jpg and a.jpg.png: any ending
        "splits": splits,
        "classes": classes,
    }


def _write(pair: Pair, folder: Path) -> None:
    if Path(pair.name).is_absolute() or ".." in Path(pair.name).parts:
        raise DataError("an image would be written outside of OUT", got=pair.name,
                        expected="file names below the folder of images")  # fmt: skip
    with faults_of(f"the label of {readable(Path(pair.name))}", DataError):
        label = np.asarray(pair.label())
    if label.dtype != np.uint8 or label.ndim != 2:
        raise DataError(f"the label of {pair.name} is no map of ids", got=label.shape)
    ending = ".png" if isinstance(pair.image, bytes) else pair.image.suffix
    name = readable(Path(pair.name + ending))
    image = folder / "images" / name
    if isinstance(pair.image, bytes):
        write_png(label, folder / "labels" / f"{name}.png")
        write_atomically(image, pair.image)
        return
    if not pair.image.is_file():
        raise DataError(f"no image at {pair.image}", hint="Give the folder of images: --images.")
    if label.shape != (size := read_size(pair.image)):
        raise DataError(f"the label of {pair.name} is not as large as its image",
                        got=label.shape, expected=size)  # fmt: skip
    write_png(label, folder / "labels" / f"{name}.png")
    image.parent.mkdir(parents=True, exist_ok=True)
    image.unlink(missing_ok=True)  # of a conversion that was interrupted
    try:
        os.link(pair.image.resolve(), image)
    except OSError:  # another disk, or one without links
        shutil.copyfile(pair.image, image)
