"""What a reader of a form hands over, and the drawing that several of them need."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from artoolkit.errors import DataError
from artoolkit.files import parse_json, read_bytes
from artoolkit.labels import VOID, Color

Pixels = NDArray[np.uint8]
BACKGROUND = "background"
_FINER = 4
_FAR = 1e6  # pixels: more than an image has, few enough to draw finer


@dataclass(frozen=True)
class Settings:
    """What a form cannot say itself.

    `images`: the folder of images, where it is not beside the annotations. `split`: the name of the
    split that a single file becomes. `background`: pixels under no polygon are a class, the first;
    else they are void. `image_column`, `label_column`, `names`: of a table of Hugging Face.
    """

    images: Path | None = None
    split: str = "train"
    background: bool = True
    image_column: str = "image"
    label_column: str = "label"
    names: tuple[str, ...] = ()


def json_at(path: Path) -> Any:
    """The content of a JSON file of annotations; `DataError` otherwise."""
    # COCO's largest has 450 MB.
    return parse_json(read_bytes(path, DataError, what="annotations", most=4 << 30))


class Pair(NamedTuple):
    """An image, as a file or encoded, and what makes its uint8 H x W label of train ids."""

    name: str
    image: Path | bytes
    label: Callable[[], Pixels]


@dataclass(frozen=True)
class Source:
    """Classes in the order of their train ids, and the pairs by split; colors where it has them."""

    name: str
    names: Sequence[str]
    splits: Mapping[str, Sequence[Pair]]
    colors: Sequence[Color] | None = None


def drawn(
    size_hw: tuple[int, int],
    shapes: Sequence[tuple[int, Sequence[Sequence[float]] | Pixels]],
    *,
    background: bool,
) -> Pixels:
    """Train ids of `shapes`: an id with polygons (x, y, x, y, ... in pixels) or a mask of the size.

    Large ones first, so that what lies upon another thing is seen; pixels under none are class 0
    with `background`, else void.
    """
    masks = []
    for train_id, shape in shapes:
        mask = shape.astype(bool) if isinstance(shape, np.ndarray) else _filled(size_hw, shape)
        masks.append((int(mask.sum()), train_id, mask))
    labels = np.full(size_hw, 0 if background else VOID, np.uint8)
    for _, train_id, mask in sorted(masks, key=lambda one: -one[0]):
        labels[mask] = train_id
    return labels


def _filled(size_hw: tuple[int, int], polygons: Sequence[Sequence[float]]) -> NDArray[np.bool_]:
    """True for the pixels whose centre lies in one of the polygons.

    Pillow fills the outline as well: drawn finer, that is a fourth of a pixel at most.
    """
    mask = np.zeros(size_hw, bool)
    for polygon in polygons:
        points = np.reshape(np.asarray(polygon, float), (-1, 2))
        if not (np.abs(points) < _FAR).all():
            raise ValueError("a polygon with a point that no image has")
        if len(points) < 3:
            continue
        low = np.clip(np.floor(points.min(0)), 0, size_hw[::-1]).astype(int)
        high = np.clip(np.ceil(points.max(0)), low, size_hw[::-1]).astype(int)
        width, height = (_FINER * (high - low)).tolist()
        if not width * height:
            continue
        canvas = Image.new("1", (width, height))
        scaled = (_FINER * (points - low)).ravel().tolist()
        ImageDraw.Draw(canvas).polygon(scaled, fill=1)
        centres = np.asarray(canvas)[_FINER // 2 :: _FINER, _FINER // 2 :: _FINER]
        mask[low[1] : high[1], low[0] : high[0]] |= centres
    return mask
