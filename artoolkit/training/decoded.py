"""Decoded images and labels kept on disk, for training sets whose decoding is the bottleneck.

A file holds one array as .npy, and a crop maps only the rows it needs. Its name is a hash of the
picture's path, size and time of change (and of the classes, for labels), so that a changed picture
is decoded again. Files appear whole or not at all: any number of workers and runs may share a
folder, which may be deleted at any time. One byte a channel and pixel: H x W x 4 bytes an image.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from artoolkit.data import DataSet, Sample
from artoolkit.data.dataset import Pairs
from artoolkit.errors import DataError, StorageError
from artoolkit.files import reading
from artoolkit.labels import LabelTable

Pixels = NDArray[np.uint8]
# Raise it when the same picture decodes to other arrays than before.
FORMAT = 2


def default_folder() -> Path:
    """`artoolkit/decoded` in XDG_CACHE_HOME, by default ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "artoolkit" / "decoded"


@dataclass(frozen=True)
class Decoded:
    """`dataset`, read from `folder` where it was decoded before; the arrays are read-only."""

    dataset: DataSet
    folder: Path

    @property
    def name(self) -> str:
        return self.dataset.name

    @property
    def root(self) -> Path:
        return self.dataset.root

    @property
    def labels(self) -> LabelTable:
        return self.dataset.labels

    def splits(self) -> tuple[str, ...]:
        return self.dataset.splits()

    def samples(self, split: str) -> tuple[Sample, ...]:
        return self.dataset.samples(split)

    def prediction_name(self, sample: Sample) -> str:
        return self.dataset.prediction_name(sample)

    def read_image(self, sample: Sample) -> Pixels:
        return self._kept((sample.image,), "", lambda: self.dataset.read_image(sample))

    def read_label(self, sample: Sample) -> Pixels:
        # The label is checked against its image, so both decide whether it is still the same.
        files = (sample.label, sample.image) if sample.label else ()
        form = repr(self.labels)
        if isinstance(self.dataset, Pairs) and sample.label is not None:
            form = repr(self.dataset.form_of(sample.label))
        return self._kept(files, form, lambda: self.dataset.read_label(sample))

    def _kept(self, files: tuple[Path, ...], extra: str, decode: Callable[[], Pixels]) -> Pixels:
        """The array of `files`; from the data set itself where there is no such file."""
        key = _key(files, extra)
        if key is None:
            return decode()
        path = self.folder / key[:2] / f"{key}.npy"
        # What cannot be mapped was cut by a full disk or by a machine that went down.
        with suppress(DataError), reading(path, DataError):
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            whole = array.offset + array.nbytes == path.stat().st_size
            if whole and array.dtype == np.uint8 and array.flags.c_contiguous:
                return np.asarray(array)
        array = decode()
        _write(path, array)
        return array


def _key(files: tuple[Path, ...], extra: str) -> str | None:
    digest = hashlib.sha256(f"{FORMAT}\0{extra}".encode())
    try:
        for path in files:
            found = path.stat()
            digest.update(f"\0{path.resolve()}\0{found.st_size}\0{found.st_mtime_ns}".encode())
    except OSError:
        return None
    return digest.hexdigest() if files else None


def _write(path: Path, array: Pixels) -> None:
    """Atomically under a name of its own, as several processes may write the same file at once."""
    partial: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".partial", delete=False) as file:
            partial = Path(file.name)
            np.save(file, array, allow_pickle=False)
        partial.replace(path)
    except OSError as error:
        if partial is not None:
            partial.unlink(missing_ok=True)
        raise StorageError(
            f"a decoded image cannot be kept in {path.parent.parent}: {error.strerror or error}",
            hint="Make room there, point XDG_CACHE_HOME elsewhere, or use --set data.cache=false.",
        ) from error
