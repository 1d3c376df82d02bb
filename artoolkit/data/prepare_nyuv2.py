"""nyu_depth_v2_labeled.mat -> the folders that `nyuv2.NYUv2` reads.

The published file is MATLAB 7.3, that is HDF5 with the axes reversed: `images` N x 3 x W x H,
`labels` N x W x H with 894 classes, `names` their names. The mapping to 40 classes and the split
come from `nyuv2_standard.json`, which states its sources.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artoolkit.data.image_files import write_png
from artoolkit.data.nyuv2 import NAMES
from artoolkit.errors import DataError
from artoolkit.files import reading
from artoolkit.optional import require

_STANDARD = Path(__file__).with_name("nyuv2_standard.json")
_HINT = "Fetch nyu_depth_v2_labeled.mat (2.8 GB) from the data set's page again."
# The one name that the published file spells in another way than the 40 classes.
_SPELLING = {"refrigerator": "refridgerator"}


@dataclass(frozen=True)
class Standard:
    """`lut[fine id]` is the file id 0-40; `splits` holds image numbers from 1 on."""

    lut: NDArray[np.uint8]
    names: dict[int, str]
    splits: dict[str, tuple[int, ...]]

    @property
    def images(self) -> int:
        return sum(map(len, self.splits.values()))


def standard() -> Standard:
    """The 795/654 split and the 40 classes that every paper uses."""
    values = json.loads(_STANDARD.read_text(encoding="utf-8"))
    lut = np.full(values["fine_classes"] + 1, len(NAMES), np.uint8)  # the rest is "otherprop"
    lut[0] = 0
    names = {}
    for file_id, name in enumerate(NAMES[:-1], 1):
        fine_ids = values["fine_ids"][name]
        lut[fine_ids] = file_id
        if len(fine_ids) == 1:
            names[fine_ids[0]] = _SPELLING.get(name, name)
    val = [i for first, last in values["val_ranges"] for i in range(first, last + 1)]
    train = sorted(set(range(1, values["images"] + 1)) - set(val))
    return Standard(lut, names, {"train": tuple(train), "val": tuple(val)})


def prepare(
    mat: Path,
    out: Path,
    *,
    layout: Standard | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, int]:
    """Write `out/images/<split>/<number>.png` and `out/labels/...`; returns the images per split.

    `progress` is called with the number done and the total. Raises `DataError` if `mat` is not
    the published file, `StorageError` if `out` cannot be written, `MissingLibraryError` without
    h5py. What is written already is written again, so that an interrupted run can be repeated.
    """
    h5py = require("h5py", "reading NYUv2's .mat file")
    layout = layout or standard()
    if not mat.is_file():
        raise DataError(f"no file at {mat}", expected="nyu_depth_v2_labeled.mat", hint=_HINT)
    with reading(mat, DataError, hint=_HINT), h5py.File(mat, "r") as file:
        _require_nyuv2(file, mat, layout)
        _unpack(file, out, layout, progress)
    return {split: len(numbers) for split, numbers in layout.splits.items()}


def _unpack(
    file: Any, out: Path, layout: Standard, progress: Callable[[int, int], None] | None
) -> None:
    done = 0
    for split, numbers in layout.splits.items():
        for number in numbers:
            fine = file["labels"][number - 1].T
            if int(fine.max()) >= len(layout.lut):
                raise DataError(
                    f"label {number} of {file.filename} holds an unknown class",
                    got=f"id {fine.max()}",
                    expected=f"0-{len(layout.lut) - 1}",
                )
            pixels = np.ascontiguousarray(file["images"][number - 1].transpose(2, 1, 0))
            write_png(pixels, out / "images" / split / f"{number:04d}.png")
            write_png(layout.lut[fine], out / "labels" / split / f"{number:04d}.png")
            done += 1
            if progress is not None:
                progress(done, layout.images)


def _require_nyuv2(file: Any, mat: Path, layout: Standard) -> None:
    missing = [name for name in ("images", "labels", "names") if name not in file]
    if missing:
        raise DataError(f"{mat} is not NYUv2's labelled data set",
                        got=f"no variable {', '.join(missing)}", hint=_HINT)  # fmt: skip
    images, labels = file["images"].shape, file["labels"].shape
    if images != (layout.images, 3, *images[2:]) or labels != (layout.images, *images[2:]):
        raise DataError(
            f"{mat} is not NYUv2's labelled data set",
            got=f"images {images}, labels {labels}",
            expected=f"{layout.images} x 3 x W x H and {layout.images} x W x H",
            hint=_HINT,
        )
    names = file["names"][0]
    wrong = [f"{i} is {found!r}, not {name!r}" for i, name in sorted(layout.names.items())
             if (found := _text(file, names, i - 1)) != name]  # fmt: skip
    if wrong:
        raise DataError(f"{mat} numbers its classes in another way than NYUv2",
                        got=f"class {'; '.join(wrong[:3])}", hint=_HINT)  # fmt: skip


def _text(file: Any, names: Any, index: int) -> str:
    """A MATLAB string: a column of UTF-16 codes behind a reference."""
    if index >= len(names):
        return ""
    return "".join(map(chr, np.asarray(file[names[index]]).ravel()))
