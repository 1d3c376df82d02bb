"""JSON that carries its own sha256, so that one changed byte is found and files can be chained.

A sealed file holds one JSON object in one canonical form (sorted keys, two spaces, one newline at
the end) whose key `sha256` is the hash of that form without the key. Another spacing of the same
values is refused too: a seal covers bytes, not meanings.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from artoolkit.errors import BundleError, StorageError
from artoolkit.files import parse_json, read_bytes

_CHUNK_BYTES = 1 << 20


def file_sha256(path: Path) -> str:
    """Hexadecimal sha256 of a file's bytes, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def canonical(values: Mapping[str, Any]) -> bytes:
    """The one byte form of a JSON object. Raises `ValueError` on NaN and infinities."""
    text = json.dumps(values, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()


def seal(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with the key `sha256` set to the hash of everything else in them."""
    content = {key: value for key, value in values.items() if key != "sha256"}
    return content | {"sha256": hashlib.sha256(canonical(content)).hexdigest()}


def write_atomically(path: Path, content: bytes) -> None:
    """Replace `path` in one step: a reader sees the old file or the new one, never a part.

    Raises `StorageError` where it cannot be written, or is a device, pipe or folder.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        # root could put a file in the place of /dev/null.
        if path.exists() and not path.is_file():
            raise OSError(errno.EINVAL, "it is no regular file")
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise StorageError(
            f"cannot write {path}: {error.strerror}", hint="Free some space or choose another path."
        ) from error


def write_sealed(path: Path, values: Mapping[str, Any]) -> str:
    """Write `values` sealed and atomically; returns their sha256."""
    sealed = seal(values)
    write_atomically(path, canonical(sealed))
    return str(sealed["sha256"])


def read_sealed(path: Path) -> dict[str, Any]:
    """The values of a sealed file, or a `BundleError` that names the file and what is wrong."""
    content = read_bytes(path, BundleError)
    try:
        values = parse_json(content)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not JSON: it was cut or changed") from error
    if not isinstance(values, dict) or "sha256" not in values:
        raise BundleError(f"{path} carries no sha256 of itself", expected="a sealed JSON object")
    if content != canonical(values) or values["sha256"] != _seal_of(content, values["sha256"]):
        raise BundleError(f"{path} was changed after it was written: its sha256 does not match")
    return values


def _seal_of(content: bytes, told: object) -> str:
    """The hash of a canonical form without its line of the key `sha256`.

    Python writes indented JSON slowly, and records may be long: it is not written a second time.
    """
    # Two spaces stand before keys of the object itself only, and no text holds a line's end.
    before, _, after = content.partition(f'\n  "sha256": "{told}"'.encode())
    bare = before + after[1:] if after.startswith(b",") else before.removesuffix(b",") + after
    return hashlib.sha256(b"{}\n" if bare == b"{\n}\n" else bare).hexdigest()
