"""Fetches one file over HTTP: resumed where it was cut off, complete or not there at all. No torch.

pooch transfers; resuming, which it does not know, is here. What is on its way lies beside the
target as `.part`, with the server's tag of that version, so that pieces of two versions are never
joined. The hash is checked by `sources.Source.verify`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from artoolkit.errors import DownloadError, StorageError
from artoolkit.optional import require

# What is lost of a transfer that breaks off is at most one of these.
CHUNK_BYTES = 1 << 16
TIMEOUT_S = 30.0
AGENT = "artoolkit (https://arxiv.org/abs/2103.04990)"
ADVICE = "Try again: what arrived is kept, and the rest is fetched."
PURPOSE = "downloading weights"
PARTIAL_CONTENT, RANGE_NOT_SATISFIABLE = 206, 416

Progress = Callable[[int, int | None], None]


def fetch(address: str, path: Path, *, progress: Progress = lambda done, total: None) -> Path:
    """Downloads `address` to `path`, going on from an earlier attempt where the server allows.

    `progress` is told the bytes so far and the bytes in all (None: the server does not say).
    Raises `DownloadError` where the server refuses, cannot be reached or breaks off (the part is
    kept), `StorageError` where the file cannot be written.
    """
    requests = require("requests", PURPOSE)
    part, tag = (path.with_name(path.name + ending) for ending in (".part", ".part.tag"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab") as file:
            sink = _Part(file, tag, progress)
            sink.fill(address)
    except requests.RequestException as error:
        answer = error.response
        if answer is not None and answer.status_code == RANGE_NOT_SATISFIABLE and tag.is_file():
            # The part is not a beginning of what the server has now.
            part.unlink()
            tag.unlink()
            return fetch(address, path, progress=progress)
        if sink.total is not None:
            raise DownloadError(
                f"{address} broke off", got=f"{sink.done} bytes", expected=sink.total, hint=ADVICE
            ) from error
        reason = str(error) if answer is None else f"{answer.status_code} {answer.reason}"
        raise DownloadError(f"{address} cannot be fetched: {reason}", hint=ADVICE) from error
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from error
    part.replace(path)
    tag.unlink(missing_ok=True)
    return path


@dataclass
class _Part:
    """File that pooch writes to: the part of an earlier attempt, or an empty one."""

    file: IO[bytes]
    tag: Path
    progress: Progress
    done: int = 0
    total: int | None = None

    def fill(self, address: str) -> None:
        tag = self.tag.read_bytes() if self.tag.is_file() else b""
        # A damaged tag names no version: everything is fetched again.
        have = self.file.tell() if tag.isascii() and tag.decode().isprintable() else 0
        headers = {"User-Agent": AGENT, "Accept-Encoding": "identity"}
        if tag and have:
            headers |= {"Range": f"bytes={have}-", "If-Range": tag.decode()}
        download = require("pooch", PURPOSE).HTTPDownloader(
            chunk_size=CHUNK_BYTES, timeout=TIMEOUT_S, headers=headers,
            hooks={"response": self.begin},
        )  # fmt: skip
        download(address, self, None)

    def begin(self, answer: Any, **_: Any) -> None:
        """Before the content comes: only the rest is appended, anything else starts again."""
        if not answer.ok or answer.is_redirect:
            return
        if answer.status_code != PARTIAL_CONTENT:
            self.file.truncate(0)
        self.done = self.file.seek(0, 2)
        length = answer.headers.get("Content-Length")
        self.total = None if length is None else self.done + int(length)
        version = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
        if version and not version.startswith("W/"):
            self.tag.write_text(version, encoding="utf-8")
        else:
            self.tag.unlink(missing_ok=True)
        self.progress(self.done, self.total)

    def write(self, chunk: bytes) -> None:
        self.file.write(chunk)
        self.done += len(chunk)
        self.progress(self.done, self.total)

    def flush(self) -> None:
        self.file.flush()
