"""COCO's JSON: panoptic (a PNG of segment ids an image) and instances (polygons and run lengths).

Format: cocodataset.org/#format-data. A panoptic PNG holds id = R + 256 G + 65536 B, 0 unlabelled,
in the folder named as the JSON without its ending; its classes keep the order of `categories`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from artoolkit.data.convert.source import BACKGROUND, Pair, Pixels, Settings, Source, drawn, json_at
from artoolkit.data.image_files import read_rgb
from artoolkit.data.listing import on_this_system
from artoolkit.errors import DataError
from artoolkit.files import reading
from artoolkit.labels import VOID

T = TypeVar("T")


def panoptic(path: Path, settings: Settings) -> Source:
    """Train ids by the category of each segment; pixels of no segment are void."""
    with reading(path, DataError, what="annotations"):
        content = json_at(path)
        categories = content["categories"]
        ids = _by_id(categories, range(len(categories)))
        files = _by_id(content["images"], [_file(one) for one in content["images"]])
        folder = settings.images or path.parent
        pairs = [
            Pair(
                Path(one["file_name"]).stem,
                folder / files[one["image_id"]],
                partial(
                    _of_segments,
                    path.with_suffix("") / one["file_name"],
                    {s["id"]: ids[s["category_id"]] for s in one["segments_info"]},
                ),
            )
            for one in content["annotations"]
        ]
        colors = [tuple(one["color"]) for one in categories if "color" in one]
    names = [one["name"] for one in categories]
    whole = colors if len(colors) == len(names) else None
    return Source("coco", names, {settings.split: pairs}, whole)


def _of_segments(path: Path, meaning: dict[int, int]) -> Pixels:
    rgb = read_rgb(path).astype(np.uint32)
    codes, places = np.unique(rgb @ np.array([1, 256, 65536], np.uint32), return_inverse=True)
    unknown = [c for c in codes.tolist() if c and c not in meaning]
    if unknown:
        raise DataError(f"{path} holds segments that its JSON does not have", got=unknown[0])
    labels = np.array([meaning.get(c, VOID) for c in codes.tolist()], np.uint8)
    return labels[places].reshape(rgb.shape[:2])


def instances(path: Path, settings: Settings) -> Source:
    """Train ids of objects as they lie upon each other; images without any are background."""
    with reading(path, DataError, what="annotations"):
        content = json_at(path)
        first = int(settings.background)
        ids = _by_id(content["categories"], range(first, first + len(content["categories"])))
        shapes = _by_id(content["images"], [list[tuple[int, Any]]() for _ in content["images"]])
        for one in content["annotations"]:
            shapes[one["image_id"]].append((ids[one["category_id"]], one["segmentation"]))
        pairs = [
            Pair(
                _file(image).with_suffix("").as_posix(),
                (settings.images or path.parent) / _file(image),
                partial(
                    _of_objects,
                    (image["height"], image["width"]),
                    shapes[image["id"]],
                    settings.background,
                ),
            )
            for image in content["images"]
        ]
        names = [BACKGROUND] * first + [one["name"] for one in content["categories"]]
    return Source("coco", names, {settings.split: pairs})


def _of_objects(
    size_hw: tuple[int, int], shapes: list[tuple[int, Any]], background: bool
) -> Pixels:
    if wrong := [s["size"] for _, s in shapes if isinstance(s, dict) and s["size"] != [*size_hw]]:
        raise ValueError(f"a mask of {wrong[0]} in an image of {[*size_hw]}")
    found = [(i, mask_of(s) if isinstance(s, dict) else s) for i, s in shapes]
    return drawn(size_hw, found, background=background)


def _file(image: dict[str, Any]) -> Path:
    return on_this_system(image["file_name"])


def _by_id(rows: list[dict[str, Any]], values: Iterable[T]) -> dict[Any, T]:
    """A value for each row, by its id; `ValueError` where an id stands twice."""
    found = {one["id"]: value for one, value in zip(rows, values, strict=True)}
    if len(found) < len(rows):
        raise ValueError("an id stands twice among its images or categories")
    return found


def mask_of(segmentation: dict[str, Any]) -> Pixels:
    """uint8 H x W of COCO's run lengths, plain or as text; runs go down the columns, 0 first.

    The text has 5 bits a letter, the lowest first, and from the third run on the difference from
    the run before the last.
    """
    counts, (height, width) = segmentation["counts"], segmentation["size"]
    if isinstance(counts, str):
        runs: list[int] = []
        value = shift = 0
        for letter in counts.encode("ascii"):
            bits = letter - 48
            value |= (bits & 31) << shift
            shift += 5
            if not bits & 32:
                value -= (bits & 16) << (shift - 4) if bits & 16 else 0
                runs.append(value + (runs[-2] if len(runs) > 2 else 0))
                value = shift = 0
        counts = runs
    if sum(counts) != height * width or min(counts, default=0) < 0:
        raise DataError("run lengths do not fill their mask", got=sum(counts),
                        expected=height * width)  # fmt: skip
    values = np.arange(len(counts), dtype=np.uint8) % 2
    return np.repeat(values, counts).reshape(width, height).T
