"""Reading files that somebody else may have written: one guard, so that any fault is one line.

A file that is broken makes a library raise whatever its parser ran into: zlib's error, struct's, a
RecursionError, a MemoryError. Readers do not list them: inside `reading`, all are the file's fault.
"""

from __future__ import annotations

import json
import math
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from artoolkit.errors import ArtoolkitError

# Far more than any record, recipe or list that artoolkit writes; a confusion matrix takes 1 kB.
MOST_TEXT_BYTES = 256 << 20
# 200 golden images of 1024 x 2048; what a small archive claims to unpack to can be anything.
MOST_ARRAY_BYTES = 2 << 30

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def one_line(error: BaseException) -> str:
    """The first line of an error's text, or the name of its class."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    # A KeyError's text is the bare key, or nothing at all.
    if isinstance(error, KeyError) and text.strip("'").isidentifier():
        text = f"it has no {error.args[0]}"
    lines = text.strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


@contextmanager
def faults_of(
    named: str, error: type[ArtoolkitError], *, hint: str | None = None
) -> Iterator[None]:
    """Turn whatever is raised inside into `error`, saying that what is `named` cannot be read."""
    try:
        yield
    except ArtoolkitError:
        raise
    except Exception as problem:
        raise error(f"{named} cannot be read: {one_line(problem)}", hint=hint) from problem


@contextmanager
def reading(
    path: Path, error: type[ArtoolkitError], *, what: str = "", hint: str | None = None
) -> Iterator[None]:
    """Turn whatever is raised inside into `error`, saying that `what` at `path` cannot be read.

    A pipe, device or folder is refused before anything is read, since reading one may never end.
    """
    named = f"{what} {path}".strip()
    with faults_of(named, error, hint=hint):
        try:
            kind = _KINDS.get(stat.S_IFMT(path.stat().st_mode))
            if kind is not None:
                raise error(f"{named} is {kind}", expected="a file", hint=hint)
            yield
        except FileNotFoundError as problem:
            gone = f"no {what} at {path}" if what else f"{path} does not exist"
            raise error(gone, hint=hint or "Check the path.") from problem


def read_bytes(
    path: Path,
    error: type[ArtoolkitError],
    *,
    what: str = "",
    most: int = MOST_TEXT_BYTES,
    hint: str | None = None,
) -> bytes:
    """The content of a regular file of at most `most` bytes; `error` otherwise."""
    with reading(path, error, what=what, hint=hint):
        size = path.stat().st_size
        if size > most:
            raise error(f"{path} is too large", got=f"{size:,} bytes", expected=f"at most {most:,}")
        return path.read_bytes()


def read_lines(path: Path, error: type[ArtoolkitError], *, what: str = "") -> list[str]:
    """The lines of a UTF-8 text, without the white space around each; a byte-order mark is fine."""
    content = read_bytes(path, error, what=what)
    with reading(path, error, what=what, hint="Save it as UTF-8."):
        return [line.strip() for line in content.decode("utf-8-sig").splitlines()]


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):  # another reader may take the first of two
        raise ValueError("a key stands twice in an object")
    return values


def parse_json(content: bytes | str) -> Any:
    """The value of a JSON text; `ValueError` for NaN, 1e400, lone surrogates and a key twice."""
    values = json.loads(content, parse_constant=_no_constant, object_pairs_hook=_once_each)
    json.dumps(values, ensure_ascii=False, allow_nan=False).encode()
    return values


def read_json_lines(path: Path, error: type[ArtoolkitError]) -> list[dict[str, Any]]:
    """The objects in a file of JSON lines; a last line that a kill cut is left out."""
    whole, _, _cut = read_bytes(path, error).rpartition(b"\n")
    rows = []
    for number, line in enumerate(whole.split(b"\n") if whole else (), start=1):
        with reading(path, error, what=f"line {number} of"):
            row = parse_json(line)
            if not isinstance(row, dict):
                raise ValueError("it is no JSON object")
        rows.append(row)
    return rows


def read_npz(
    path: Path, error: type[ArtoolkitError], *, most: int = MOST_ARRAY_BYTES
) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file by name; `error` where it claims more than `most` bytes."""
    with reading(path, error), path.open("rb") as file:
        claimed = sum(entry.file_size for entry in zipfile.ZipFile(file).infolist())
        if claimed > most:
            raise ValueError(f"it unpacks to {claimed:,} bytes, at most {most:,} are read")
        file.seek(0)
        with np.load(file, allow_pickle=False) as arrays:
            for name in arrays.files:
                _require_content(arrays.zip, name)
            return {name: arrays[name] for name in arrays.files}


def _require_content(archive: zipfile.ZipFile, name: str) -> None:
    """`ValueError` where the header of an array claims more than its entry holds."""
    entry = next(e for e in archive.infolist() if e.filename in (name, f"{name}.npy"))
    with archive.open(entry) as file:
        old = np.lib.format.read_magic(file) == (1, 0)
        read = np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0
        shape, _, kind = read(file)
    if (claimed := math.prod(shape) * kind.itemsize) > entry.file_size:
        raise ValueError(f"{name} claims {claimed:,} bytes and holds {entry.file_size:,}")
