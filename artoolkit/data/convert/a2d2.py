"""Audi's A2D2: the classes are those of the set's own class_list.json, a color each.

Layout: a2d2.audi, "Semantic segmentation": SEQUENCE/label/CAMERA/*_label_*.png beside
SEQUENCE/camera/CAMERA/*_camera_*.png. `Car 1` to `Car 4` are one class: the number tells neighbors
apart. A2D2 has no splits: everything is `--split`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from artoolkit.data.convert.source import Pair, Pixels, Settings, Source, json_at
from artoolkit.data.image_files import read_rgb
from artoolkit.data.listing import images_below
from artoolkit.errors import DataError
from artoolkit.files import reading
from artoolkit.labels import VOID, Color

# What cannot be seen there, and the car itself: no class of a street.
NO_CLASS = ("Blurred area", "Rain dirt", "Ego car")


def folder(root: Path, settings: Settings) -> Source:
    """All sequences below `root`."""
    path = root / "class_list.json"
    with reading(path, DataError, what="classes"):
        listed = {_color(c): n for c, n in json_at(path).items()}
    plain = {c: n.rstrip("0123456789 ") for c, n in listed.items()}
    names = list(dict.fromkeys(name for name in plain.values() if name not in NO_CLASS))
    meaning = {c: VOID if n in NO_CLASS else names.index(n) for c, n in plain.items()}
    colors = [next(c for c, n in plain.items() if n == name) for name in names]
    labels = [p for p in images_below(root) if p.parent.parent.name == "label"]
    pairs = [
        Pair(p.stem.replace("_label_", "_"), _image_of(p), partial(_label, p, meaning))
        for p in labels
    ]
    return Source("a2d2", names, {settings.split: pairs}, colors)


def _image_of(label: Path) -> Path:
    name = label.name.replace("_label_", "_camera_")
    return label.parent.parent.parent / "camera" / label.parent.name / name


def _color(text: str) -> Color:
    red, green, blue = bytes.fromhex(text.lstrip("#"))
    return red, green, blue


def _label(path: Path, meaning: dict[Color, int]) -> Pixels:
    rgb = read_rgb(path)
    colors, places = np.unique(rgb.reshape(-1, 3), axis=0, return_inverse=True)
    known = [(int(red), int(green), int(blue)) for red, green, blue in colors]
    if unknown := [color for color in known if color not in meaning]:
        raise DataError(f"label {path} holds colors that class_list.json does not have",
                        got=unknown[0])  # fmt: skip
    return np.array([meaning[color] for color in known], np.uint8)[places].reshape(rgb.shape[:2])
