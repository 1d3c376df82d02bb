"""Downloads from a server on this machine: whole, resumed, restarted, broken off, refused."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from artoolkit.errors import DownloadError, StorageError
from artoolkit.networks.download import fetch

CONTENT = bytes(range(256)) * 4096


class Server(ThreadingHTTPServer):
    """Serves CONTENT; breaks off after `cut` bytes, and knows ranges unless `ranges` is False."""

    cut: int | None = None
    ranges = True
    tag: str | None = '"one"'
    content = CONTENT

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str | None] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/weights.pth"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        content, start = self.server.content, 0
        if self.path != "/weights.pth":
            self.send_error(404)
            return
        current = self.headers.get("If-Range") == self.server.tag
        if asked and self.server.ranges and current:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_error(416)
                return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        if self.server.tag:
            self.send_header("ETag", self.server.tag)
        self.end_headers()
        end = len(content) if self.server.cut is None else start + self.server.cut
        self.wfile.write(content[start:end])

    def log_message(self, *ignored: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "weights" / "weights.pth"


def test_whole_file_with_progress(server: Server, path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    fetch(server.address, path, progress=lambda done, total: told.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert told[0] == (0, len(CONTENT))
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert told == sorted(told)
    assert list(path.parent.iterdir()) == [path]


def test_broken_off_then_resumed(server: Server, path: Path) -> None:
    server.cut = 300_000
    with pytest.raises(DownloadError, match=r"broke off; got 262144 bytes; expected 1048576"):
        fetch(server.address, path)
    assert not path.exists()
    server.cut = None
    told: list[int] = []
    fetch(server.address, path, progress=lambda done, _: told.append(done))
    assert path.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=262144-"]
    assert told[0] == 262_144
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "reason", ["other version", "no ranges", "no tag", "shorter now", "damaged tag"]
)
def test_starts_again_where_resuming_would_join_two_files(
    server: Server, path: Path, reason: str
) -> None:
    server.cut = 300_000
    if reason == "no tag":
        server.tag = None
    with pytest.raises(DownloadError):
        fetch(server.address, path)
    server.cut = None
    if reason == "other version":
        server.tag, server.content = '"two"', CONTENT[::-1]
    elif reason == "no ranges":
        server.ranges = False
    elif reason == "shorter now":
        server.content = CONTENT[:1000]
    elif reason == "damaged tag":
        path.with_name(f"{path.name}.part.tag").write_bytes(b'"on\xff')
    fetch(server.address, path)
    assert path.read_bytes() == server.content


def test_refusals_are_one_line(server: Server, path: Path) -> None:
    with pytest.raises(DownloadError, match=r"absent cannot be fetched: 404 Not Found"):
        fetch(server.address.replace("weights.pth", "absent"), path)
    server.shutdown()
    server.server_close()
    with pytest.raises(DownloadError, match=r"cannot be fetched: .*refused"):
        fetch(server.address, path)
    assert not path.exists()


def test_a_folder_that_cannot_be_written_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot write .*weights\.pth"):
        fetch(server.address, tmp_path / "file" / "weights.pth")
