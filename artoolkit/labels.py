"""Label tables: the names, colors and file ids of a data set's classes, and maps between them.

Train ids run from 0 to C - 1; 255 is void. A data set's files may use other ids (`file_ids`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, model_validator

from artoolkit.spec import Frozen

VOID = 255
MAX_CLASSES = 254  # 255 is void, and 254 marks an unknown id while a label file is read

Labels = NDArray[np.uint8]


def _byte_triple(color: tuple[int, int, int]) -> tuple[int, int, int]:
    if not all(0 <= channel <= 255 for channel in color):
        raise ValueError(f"color {color} is outside 0-255")
    return color


Color = Annotated[tuple[int, int, int], AfterValidator(_byte_triple)]


class LabelTable(Frozen):
    """The classes of a data set, in the order of their train ids.

    `file_ids[c]` is the id that the data set's own label files use for train id c; `void_ids` are
    the file ids that mean void. Negative ids (Cityscapes' licence plate, -1) stand here as a PNG
    holds them, modulo 256.
    """

    name: str
    names: tuple[str, ...]
    colors: tuple[Color, ...]
    file_ids: tuple[int, ...]
    void_ids: tuple[int, ...] = (VOID,)

    @model_validator(mode="after")
    def _same_length(self) -> LabelTable:
        if not len(self.names) == len(self.colors) == len(self.file_ids):
            raise ValueError("names, colors and file_ids differ in length")
        if not 1 <= len(self.names) <= MAX_CLASSES:
            raise ValueError(f"{len(self.names)} classes, expected 1 to {MAX_CLASSES}")
        for field, values in (("names", self.names), ("file_ids", self.file_ids)):
            if len(set(values)) != len(values):
                raise ValueError(f"{field} has a value twice: {values}")
        if set(self.file_ids) & set(self.void_ids):
            raise ValueError("an id is both a class and void")
        if not all(0 <= i <= 255 for i in (*self.file_ids, *self.void_ids)):
            raise ValueError("file ids must lie in 0-255")
        return self

    @property
    def num_classes(self) -> int:
        return len(self.names)

    def unknown_ids(self, ids: Iterable[int]) -> tuple[int, ...]:
        """Those of `ids` (file ids) that are neither a class nor void, ascending."""
        return tuple(sorted(set(ids) - set(self.file_ids) - set(self.void_ids)))

    def to_train_ids(self, file_labels: NDArray[np.integer[Any]]) -> Labels:
        """uint8 file ids of any shape -> uint8 train ids, 255 for void and for unknown ids."""
        table = np.full(256, VOID, np.uint8)
        table[list(self.file_ids)] = np.arange(self.num_classes, dtype=np.uint8)
        return np.asarray(table[file_labels.astype(np.uint8, copy=False)])

    def to_file_ids(self, labels: Labels) -> Labels:
        """uint8 train ids -> uint8 file ids; what is no class becomes the first void id."""
        table = np.full(256, self.void_ids[0] if self.void_ids else VOID, np.uint8)
        table[: self.num_classes] = self.file_ids
        return np.asarray(table[labels])

    def colorize(self, labels: Labels) -> NDArray[np.uint8]:
        """uint8 train ids H x W -> uint8 RGB H x W x 3, void black."""
        table = np.zeros((256, 3), np.uint8)
        table[: self.num_classes] = self.colors
        return np.asarray(table[labels])
