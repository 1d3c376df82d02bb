"""Polygons of Ultralytics' YOLO: data.yaml, and a text file of polygons beside each image.

Format: docs.ultralytics.com/datasets/segment. A line is `class x y x y ...`, shares of the image's
width and height; labels/ stands in place of the last images/ in the path.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from artoolkit.data.convert.source import BACKGROUND, Pair, Pixels, Settings, Source, drawn
from artoolkit.data.image_files import read_size
from artoolkit.data.listing import images_below, on_this_system
from artoolkit.errors import DataError
from artoolkit.files import read_bytes, read_lines, reading
from artoolkit.optional import require

SPLITS = ("train", "val", "test")


def polygons(path: Path, settings: Settings) -> Source:
    """Every split that data.yaml names; an image without a text file is background."""
    yaml = require("yaml", "reading a data.yaml of YOLO")
    with reading(path, DataError, what="description"):
        content = yaml.safe_load(read_bytes(path, DataError, what="description"))
        names = content["names"]
        names = [names[i] for i in range(len(names))]
        root = path.parent / on_this_system(content.get("path") or "")
        # A path that belongs to another machine: what data.yaml lies in is the data set.
        root = root if root.is_dir() else path.parent
        folders = {s: root / on_this_system(content[s]) for s in SPLITS if content.get(s)}
    splits = {
        split: [
            Pair(
                image.relative_to(folder).with_suffix("").as_posix(),
                image,
                partial(_label, image, len(names), settings.background),
            )
            for image in images_below(folder)
        ]
        for split, folder in folders.items()
    }
    return Source("yolo", [BACKGROUND] * settings.background + names, splits)


def _label(image: Path, classes: int, background: bool) -> Pixels:
    height, width = read_size(image)
    text = _text_of(image)
    shapes = []
    lines = read_lines(text, DataError, what="polygons") if text.is_file() else ()
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        with reading(text, DataError, what="polygons"):
            index, *values = map(float, line.split())
        is_class = index.is_integer() and 0 <= index < classes
        if len(values) < 6 or len(values) % 2 or not is_class or not np.isfinite(values).all():
            raise DataError(
                f"line {number} of {text} is no polygon",
                got=line[:60],
                expected=f"a class below {classes} and three points or more",
            )
        scaled = [v * (height if i % 2 else width) for i, v in enumerate(values)]
        shapes.append((int(index) + background, [scaled]))
    return drawn((height, width), shapes, background=background)


def _text_of(image: Path) -> Path:
    parts = list(image.parts)
    if "images" in parts:
        parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    return Path(*parts).with_suffix(".txt")
