"""The newest frame wins, and what was dropped is counted."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from artoolkit.data.frames import Frame, Newest, frames, is_live, is_stream
from artoolkit.errors import DataError


def frame(index: int) -> Frame:
    return Frame(index, 0.0, np.zeros((1, 1, 3), np.uint8))


def test_without_dropping_every_frame_comes_in_order() -> None:
    newest = Newest((frame(i) for i in range(20)), drop=False)
    assert [f.index for f in newest] == list(range(20))
    assert newest.dropped == 0


def test_a_slow_reader_gets_the_newest_and_the_rest_are_counted() -> None:
    taken, produced = threading.Event(), threading.Event()

    def source() -> Iterator[Frame]:
        yield frame(0)
        taken.wait(10)
        yield from (frame(i) for i in range(1, 6))
        produced.set()

    newest = Newest(source(), drop=True)
    stream = iter(newest)
    assert next(stream).index == 0
    taken.set()
    produced.wait(10)
    assert [f.index for f in stream] == [5]
    assert newest.dropped == 4


def test_what_ends_the_source_reaches_the_reader() -> None:
    def source() -> Iterator[Frame]:
        yield frame(0)
        raise DataError("the camera is gone")

    with pytest.raises(DataError, match="camera is gone"):
        list(Newest(source(), drop=False))


def test_a_folder_is_read_by_name_and_an_empty_one_said_so(tmp_path: Path) -> None:
    for name, value in (("b.png", 2), ("a.jpg", 1)):
        Image.new("RGB", (4, 2), (value * 100,) * 3).save(tmp_path / name)
    found = list(frames(str(tmp_path)))
    assert [f.index for f in found] == [0, 1]
    assert found[0].pixels.mean() < found[1].pixels.mean()
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="no frame"):
        list(frames(str(empty)))


TURNS = {
    90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0),
}  # fmt: skip


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_video_is_read_as_it_is_shown(tmp_path: Path, degrees: int) -> None:
    """A telephone held upright writes a lying video, and in its track's header how to turn it."""
    cv2 = pytest.importorskip("cv2")
    path = tmp_path / "a.mp4"
    stored = np.zeros((48, 64, 3), np.uint8)
    stored[:24, :32] = 255
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10.0, (64, 48))
    for _ in range(3):
        writer.write(stored)
    writer.release()
    if degrees:
        content = bytearray(path.read_bytes())
        place = content.index(b"tkhd") + 4 + 40  # the matrix of a version 0 header: a b u c d v
        a, b, c, d = (value * 65536 for value in TURNS[degrees])
        struct.pack_into(">6i", content, place, a, b, 0, c, d, 0)
        path.write_bytes(content)
    (first, *_) = frames(str(path))
    shown = np.rot90(stored, -degrees // 90)
    assert first.pixels.shape == shown.shape
    assert np.abs(first.pixels.astype(int) - shown).mean() < 12


def test_cameras_and_addresses_are_live_and_files_wait() -> None:
    assert [is_stream(s) for s in ("camera:0", "rtsp://a/b", "x.MP4", "x.png", "x")] == [
        True, True, True, False, False,
    ]  # fmt: skip
    assert [is_live(s) for s in ("camera:0", "rtsp://a/b", "x.mp4")] == [True, True, False]


def test_a_camera_that_is_not_there_is_one_line() -> None:
    pytest.importorskip("cv2")
    with pytest.raises(DataError, match="cannot be opened"):
        list(frames("camera:99"))
