"""Frames of a camera or a video, and the newest of them for a network that cannot keep up.

A camera does not wait: a network that is too slow must drop frames, or its picture of the street
grows late. `Newest` drops all but the newest and counts what it dropped.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artoolkit.data.image_files import read_rgb
from artoolkit.data.listing import images_below
from artoolkit.errors import DataError
from artoolkit.optional import require

Pixels = NDArray[np.uint8]
VIDEOS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm")
CAMERA = "camera:"


@dataclass(frozen=True)
class Frame:
    """uint8 RGB H x W x 3 pixels, their number from 0, and the moment they were read (seconds)."""

    index: int
    read_s: float
    pixels: Pixels


def is_stream(source: str) -> bool:
    """True if `source` is a camera (`camera:0`), a stream's address or a video file."""
    return source.startswith(CAMERA) or "://" in source or Path(source).suffix.lower() in VIDEOS


def is_live(source: str) -> bool:
    """True if frames come at their own time, and are lost where nobody takes them."""
    return source.startswith(CAMERA) or "://" in source


def frames(source: str) -> Iterator[Frame]:
    """Frames of `camera:0`, of a video or stream that OpenCV opens, or of a folder's pictures.

    Raises `DataError` where it cannot be opened or holds no frame.
    """
    index = -1
    for index, pixels in enumerate(_pixels(source)):
        yield Frame(index, time.perf_counter(), pixels)
    if index < 0:
        raise DataError(f"{source} holds no frame", hint="Check the file or the camera.")


def _pixels(source: str) -> Iterator[Pixels]:
    folder = Path(source)
    if folder.is_dir():
        yield from map(read_rgb, images_below(folder, depth=1))
        return
    capture = _capture(source)
    try:
        while True:
            read, frame = capture.read()
            if not read:
                return
            yield np.ascontiguousarray(frame[..., ::-1])
    finally:
        capture.release()


def frame_rate(source: str) -> float:
    """Frames a second as a video says; 25 where it does not, and for cameras."""
    if is_live(source):
        return 25.0
    capture = _capture(source)
    try:
        return float(capture.get(require("cv2", "reading a video").CAP_PROP_FPS)) or 25.0
    finally:
        capture.release()


def _capture(source: str) -> Any:
    cv2: Any = require("cv2", "reading a camera or video")
    number = source.removeprefix(CAMERA)
    if (file := Path(source)).exists() and not file.is_file():
        raise DataError(f"{source} is no file", expected="a video")
    capture = cv2.VideoCapture(int(number) if number.isdecimal() else source)
    # As a viewer shows it; some of OpenCV's readers leave this off by default.
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
    if not capture.isOpened():
        raise DataError(
            f"camera or video {source} cannot be opened",
            expected="camera:0, a stream's address or a video file",
            hint="Check its number or path.",
        )
    return capture


class Newest:
    """Reads frames on a thread of its own; with `drop`, only the newest is kept.

    `dropped` counts those that nobody took in time.
    """

    def __init__(self, source: Iterator[Frame], *, drop: bool) -> None:
        self._source, self._drop = source, drop
        self._ready = threading.Condition()
        self._frame: Frame | None = None
        self._error: BaseException | None = None
        self._ended = False
        self.dropped = 0
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            for frame in self._source:
                self._put(frame)
        except BaseException as error:  # the reader of the frames must learn why they end
            self._error = error
        with self._ready:
            self._ended = True
            self._ready.notify_all()

    def _put(self, frame: Frame) -> None:
        with self._ready:
            if not self._drop:
                self._ready.wait_for(lambda: self._frame is None)
            self.dropped += self._frame is not None
            self._frame = frame
            self._ready.notify_all()

    def __iter__(self) -> Iterator[Frame]:
        while True:
            with self._ready:
                self._ready.wait_for(lambda: self._frame is not None or self._ended)
                taken, self._frame = self._frame, None
                self._ready.notify_all()
            if taken is None:
                if self._error is not None:
                    raise self._error
                return
            yield taken
