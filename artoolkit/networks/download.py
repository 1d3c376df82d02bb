"""Fetches one file over HTTP: resumed where it was cut off, complete or not there at all. No torch.

What is on its way lies beside the target as `.part`, with the server's tag of that version, so that
pieces of two versions are never joined.
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO

from artoolkit.errors import DownloadError, StorageError

CHUNK_BYTES = 1 << 18
TIMEOUT_S = 30.0
AGENT = "artoolkit (https://arxiv.org/abs/2103.04990)"
ADVICE = "Try again: what arrived is kept, and the rest is fetched."

Progress = Callable[[int, int | None], None]


def fetch(address: str, path: Path, *, progress: Progress = lambda done, total: None) -> Path:
    """Downloads `address` to `path`, going on from an earlier attempt where the server allows.

    `progress` is told the bytes so far and the bytes in all (None: the server does not say).
    Raises `DownloadError` where the server refuses, cannot be reached or breaks off (the part is
    kept), `StorageError` where the file cannot be written.
    """
    part = path.with_name(path.name + ".part")
    tag = path.with_name(path.name + ".part.tag")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _transfer(address, part, tag, progress)
        part.replace(path)
        tag.unlink(missing_ok=True)
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as e:
        reason = f"{e.code} {e.reason}" if isinstance(e, urllib.error.HTTPError) else str(e)
        raise DownloadError(f"{address} cannot be fetched: {reason}", hint=ADVICE) from e
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from error
    return path


def _transfer(address: str, part: Path, tag: Path, progress: Progress) -> None:
    have = part.stat().st_size if part.is_file() and tag.is_file() else 0
    headers = {"User-Agent": AGENT, "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": tag.read_text(encoding="utf-8")}
    request = urllib.request.Request(address, headers=headers)
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        # The part is not a beginning of what the server has now.
        part.unlink()
        tag.unlink()
        _transfer(address, part, tag, progress)
        return
    with response:
        resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
        start = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length is not None else None
        version = response.headers.get("ETag") or response.headers.get("Last-Modified")
        if version and not version.startswith("W/"):
            tag.write_text(version, encoding="utf-8")
        else:
            tag.unlink(missing_ok=True)
        with part.open("ab" if resumed else "wb") as file:
            done = _copy(response, file, start, total, progress)
    if total is not None and done != total:
        raise DownloadError(
            f"{address} broke off", got=f"{done} bytes", expected=total, hint=ADVICE
        )


def _copy(
    response: IO[bytes], file: IO[bytes], start: int, total: int | None, progress: Progress
) -> int:
    done = start
    progress(done, total)
    while chunk := response.read(CHUNK_BYTES):
        file.write(chunk)
        done += len(chunk)
        progress(done, total)
    return done
