"""metrics.jsonl, and TensorBoard's events beside it: what a run did, row by row.

Rows are of one `kind`: `start` (environment), `iteration` (every term, learning rate, seconds) and
`epoch` (mIoU and IoU.<class> in percent). A resumed run cuts the file back to
what it held when the state was saved, so that no row is there twice or of a step that was redone.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from artoolkit.errors import StorageError, TrainingError
from artoolkit.evidence.callback import flat
from artoolkit.metrics import Matrix
from artoolkit.optional import is_installed, require

METRICS = "metrics.jsonl"
# The columns of an iteration beside its loss terms, whose names are the recipe's.
ROW_FIELDS = ("kind", "epoch", "step", "iteration", "loss", "lr", "data_s", "step_s", "teacher_s")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failure while `path` is written into a `StorageError`."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error}",
            hint="The last saved state is whole: make room, then go on with --resume.",
        ) from error


class History:
    """Appends rows to `folder`/metrics.jsonl and the same numbers to TensorBoard's events."""

    def __init__(self, folder: Path, *, keep_bytes: int = 0, iteration: int = 0) -> None:
        """Keeps the first `keep_bytes` of the file, written up to `iteration`, and appends."""
        self.path = folder / METRICS
        with writing(self.path):
            # Unbuffered: a row is on its way when `write` returns, and a full disk shows at once.
            self._file = self.path.open("ab", buffering=0)
            if self._file.tell() < keep_bytes:
                self._file.close()
                raise TrainingError(
                    f"{self.path} is shorter than when the run was saved",
                    hint="It was changed since; start again with another --out.",
                )
            self._file.truncate(keep_bytes)
        self._iteration = iteration
        self._board: Any | None = None

    def write(self, kind: str, row: dict[str, Any]) -> None:
        """One row; numbers also become curves (`iteration` on the horizontal axis)."""
        with writing(self.path):
            line = json.dumps({"kind": kind, **row}, allow_nan=False).encode() + b"\n"
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if kind == "start" or not has_tensorboard():
            return
        self._board = self._board or _board(self.path.parent, self._iteration)
        with writing(self.path.parent):
            for name, value in row.items():
                if isinstance(value, float):
                    self._board.add_scalar(f"{kind}/{name}", value, row["iteration"])

    def show(
        self, recipe: dict[str, Any], names: Sequence[str], counts: Matrix,
        images: dict[str, NDArray[np.uint8]], row: dict[str, Any],
    ) -> None:  # fmt: skip
        """What an evaluation looked like, for TensorBoard alone: confusion matrix, `images`
        (uint8 H x W x 3 by name), and the recipe as hyper-parameters beside the row's mIoU."""
        if not has_tensorboard():
            return
        from torch.utils.tensorboard.summary import hparams

        self._board = self._board or _board(self.path.parent, self._iteration)
        values = {k: v if isinstance(v, (bool, int, float, str)) else json.dumps(v)
                  for k, v in flat(recipe).items()}  # fmt: skip
        with writing(self.path.parent):
            shown: Any = hparams
            for summary in shown(values, {"epoch/mIoU": row["mIoU"]}):
                self._board.file_writer.add_summary(summary, row["iteration"])
            for name, image in images.items():
                self._board.add_image(name, image, row["iteration"], dataformats="HWC")
            confusion = _confusion(names, counts)
            self._board.add_image("confusion", confusion, row["iteration"], dataformats="HWC")

    def saved_bytes(self) -> int:
        """Length of the file once everything written so far is on the disk."""
        with writing(self.path):
            os.fsync(self._file.fileno())
            if self._board is not None:
                self._board.flush()
            return self._file.tell()

    def close(self) -> None:
        with writing(self.path):
            self._file.close()
        if self._board is not None:
            self._board.close()


class NoHistory(History):
    """For the processes that do not write: the same, without a file."""

    def __init__(self) -> None: ...

    def write(self, kind: str, row: dict[str, Any]) -> None: ...

    def show(self, *shown: Any) -> None: ...

    def saved_bytes(self) -> int:
        return 0

    def close(self) -> None: ...


def has_tensorboard() -> bool:
    """True if events are written; without TensorBoard, metrics.jsonl holds the same numbers."""
    return is_installed("tensorboard")


def _confusion(names: Sequence[str], counts: Matrix, cell: int = 24) -> NDArray[np.uint8]:
    """uint8 image of the shares of each labelled class (a row, with its number and name) by what
    was predicted (a column, with its number): white 0, blue 1.

    Drawn by pillow, in milliseconds: a figure of matplotlib takes longer than a small epoch.
    """
    square = counts[:, : len(names)]
    shares = square / square.sum(1, keepdims=True).clip(1)
    left = 160
    size = (left + cell * len(names), cell * (1 + len(names)))
    canvas = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(canvas)
    for row, name in enumerate(names):
        top = cell * (row + 1)
        draw.text((4, top + 6), f"{row} {name}", "black")
        draw.text((left + cell * row + 4, 6), str(row), "black")
        for column, share in enumerate(shares[row]):
            start = left + cell * column
            blue = (int(255 * (1 - share)), int(255 - 155 * share), 255)
            draw.rectangle((start, top, start + cell - 1, top + cell - 1), blue)
    return np.asarray(canvas)


def _board(folder: Path, iteration: int) -> Any:
    tensorboard = require("torch.utils.tensorboard", "writing TensorBoard events")
    # Rows after the saved state were of steps that are done again.
    return tensorboard.SummaryWriter(str(folder), purge_step=iteration + 1 if iteration else None)
