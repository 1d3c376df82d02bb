"""Folders that appear, or take another's place, in one step: old or new, nothing between.

A folder is written beside its place under a hidden name that belongs to it, so that the next run
finds what a killed one left there and removes it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from artoolkit.errors import StorageError, UsageError
from artoolkit.optional import is_installed

# From linux/fs.h and fcntl.h.
_RENAME_EXCHANGE, _AT_FDCWD = 2, -100


def _behind_links(out: Path) -> Path:
    return Path(os.path.realpath(out))  # Path.resolve raises RuntimeError where links form a loop


def _beside(out: Path, kind: str) -> Path:
    return out.with_name(f".{out.name}.{kind}")


@contextmanager
def new_folder(out: Path, *, partial: Path | None = None) -> Iterator[Path]:
    """An empty folder that takes the place of `out`, if any, when the block ends well.

    Otherwise, and where the process is killed, `out` stays as it was. `partial` is what it is
    called until then. Where `out` is a link, it stays one, and the folder behind it is replaced.
    Raises `StorageError` where it cannot be written, or is a file.
    """
    out = _behind_links(out)
    partial, old = partial or _beside(out, "partial"), _beside(out, "old")
    try:
        if out.exists() and not out.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "it is no folder")
        if old.exists() and not out.exists():  # killed between the two renames of `_exchange`
            old.rename(out)
        for left in (partial, old):
            shutil.rmtree(left, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        if out.exists():
            _exchange(partial, out, old)
        else:
            partial.rename(out)
    except OSError as error:
        raise StorageError(f"cannot write {out}: {error.strerror or error}") from error
    finally:
        for left in (partial, old):
            shutil.rmtree(left, ignore_errors=True)


def _exchange(partial: Path, out: Path, old: Path) -> None:
    """Put `partial` in the place of `out`: in one step where the system can, otherwise in two."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if sys.platform == "linux" and rename is not None:
        sys.audit("os.rename", str(partial), str(out), _AT_FDCWD, _AT_FDCWD)
        names = os.fsencode(partial), os.fsencode(out)
        if rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
            return
    out.rename(old)
    partial.rename(out)


@contextmanager
def scratch_folder(out: Path) -> Iterator[Path]:
    """An empty folder beside `out` for what is made on the way to it; removed in the end.

    On the same disk as `out`, and found by the next run where this one is killed.
    """
    scratch = _beside(_behind_links(out), "scratch")
    try:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        yield scratch
    except OSError as error:
        raise StorageError(f"cannot write {out}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def locked(file: IO[bytes]) -> Iterator[None]:
    """Only one process at a time gets into the block; the others wait. Not on Windows."""
    if not is_installed("fcntl"):
        yield
        return
    import fcntl

    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


@contextmanager
def owned(out: Path) -> Iterator[None]:
    """`UsageError` while another process works in `out`; the system frees it whatever happens."""
    if not is_installed("fcntl"):  # Windows: two processes at once are the user's business there
        yield
        return
    import fcntl

    try:
        out.mkdir(parents=True, exist_ok=True)
        opened = (out / ".lock").open("w")
    except OSError as error:
        raise StorageError(f"cannot write to {out}: {error.strerror}",
                           hint="Use another --out.") from error  # fmt: skip
    with opened as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"another process works in {out}",
                             hint="Wait for it, or use another --out.") from error  # fmt: skip
        try:
            yield
        finally:  # a worker that was forked meanwhile, and still ends, holds the same lock
            fcntl.flock(lock, fcntl.LOCK_UN)
