"""Picture files <-> numpy arrays; what cannot be read is a `DataError` that names the file.

Reading is what the loader and every evaluation pay, so each function decodes once and copies once.
The arrays are read-only, as Pillow hands them out; copy before writing into one.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from artoolkit.errors import DataError
from artoolkit.evidence.seal import write_atomically
from artoolkit.labels import MAX_CLASSES, LabelTable

# What Pillow's decoders raise on broken files, beside OSError.
_BROKEN = (
    OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error,
    Image.DecompressionBombError,
)  # fmt: skip
_BYTE_MODES = ("L", "P")  # P: the palette's indices are the ids, as in Pascal VOC
_WIDE_MODES = ("I", "I;16", "I;16B")
UNKNOWN = MAX_CLASSES  # one more than the last train id there can be


@contextmanager
def _opened(path: Path, what: str) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as picture:
            yield picture
    except FileNotFoundError as error:
        raise DataError(f"{what} {path} does not exist", hint="Check the path.") from error
    except _BROKEN as error:
        raise DataError(
            f"{what} {path} cannot be read: {error}", hint="Fetch the file again or remove it."
        ) from error


def read_size(path: Path, what: str = "image") -> tuple[int, int]:
    """Height and width in pixels, from the file's header only."""
    with _opened(path, what) as picture:
        return picture.height, picture.width


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """uint8 RGB H x W x 3 of any picture with 8 bits a channel; grey and palettes are expanded.

    Raises `DataError` if the file is missing, truncated, not a picture, or has 16-bit channels.
    """
    with _opened(path, "image") as picture:
        if picture.mode in (*_WIDE_MODES, "F"):
            raise DataError(f"image {path} has wide pixels", got=f"mode {picture.mode}",
                            expected="8 bits a channel")  # fmt: skip
        return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))


def read_train_ids(path: Path, table: LabelTable) -> NDArray[np.uint8]:
    """uint8 train ids H x W, 255 void, of a single-channel picture of the table's file ids.

    Raises `DataError` if the file cannot be read, has several channels, or holds ids that are
    neither a class nor void (all are named).
    """
    with _opened(path, "label") as picture:
        if picture.mode in _WIDE_MODES:
            return _narrow(np.asarray(picture), path, table)
        if picture.mode not in _BYTE_MODES:
            raise DataError(f"label {path} is not a label map", got=f"mode {picture.mode}",
                            expected="one channel of class ids")  # fmt: skip
        # Pillow maps bytes through a table in a third of numpy's time; an unknown id becomes 254,
        # so that looking for one byte replaces a histogram.
        picture.load()
        ids = (
            picture
            if picture.mode == "L"
            else Image.frombytes("L", picture.size, picture.tobytes())
        )
        labels: NDArray[np.uint8] = np.asarray(ids.point(list(train_id_lut(table))))
        if (labels == UNKNOWN).any():
            raise unknown_ids_error(path, table, np.flatnonzero(ids.histogram()))
        return labels


def train_id_lut(table: LabelTable) -> bytes:
    """256 bytes: file id -> train id, 255 for void, 254 for an id the table does not know."""
    lut = np.full(256, UNKNOWN, np.uint8)
    lut[list(table.void_ids)] = 255
    lut[list(table.file_ids)] = np.arange(table.num_classes)
    return lut.tobytes()


def write_png(pixels: NDArray[np.uint8], path: Path) -> None:
    """Write uint8 H x W (ids) or H x W x 3 (RGB) as PNG, atomically; folders are made.

    Raises `StorageError` if it cannot be written. Fast compression: label maps shrink anyway.
    """
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, format="PNG", compress_level=1)
    write_atomically(path, content.getvalue())


def unknown_ids_error(path: Path, table: LabelTable, ids: NDArray[Any]) -> DataError:
    unknown = table.unknown_ids(int(i) for i in ids)
    listed = ", ".join(map(str, unknown[:10])) + (" ..." if len(unknown) > 10 else "")
    return DataError(
        f"label {path} holds ids that {table.name} does not have",
        got=f"id {listed}",
        expected=f"{_ranges((*table.file_ids, *table.void_ids))}",
    )


def _narrow(wide: NDArray[Any], path: Path, table: LabelTable) -> NDArray[np.uint8]:
    """Labels that a tool wrote with 16 or 32 bits an id."""
    ids = np.unique(wide)
    if table.unknown_ids(int(i) for i in ids):
        raise unknown_ids_error(path, table, ids)
    return table.to_train_ids(wide)


def _ranges(ids: tuple[int, ...]) -> str:
    """0, 1, 2, 5 -> '0-2, 5'."""
    known = np.unique(ids)
    runs = np.split(known, np.flatnonzero(np.diff(known) > 1) + 1)
    return ", ".join(f"{r[0]}-{r[-1]}" if len(r) > 1 else f"{r[0]}" for r in runs)
