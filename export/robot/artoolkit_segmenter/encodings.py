"""Bytes of a sensor_msgs/Image -> uint8 RGB H x W x 3, by numpy alone: no cv_bridge, no OpenCV.

The names are those of sensor_msgs' image_encodings.hpp. YUV is converted as OpenCV does: ITU-R
BT.601, 16 to 235. A Bayer image has to be demosaiced before (image_proc): that is camera work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artoolkit.errors import DataError

Pixels = NDArray[np.uint8]
Rows = Callable[[int, int], Pixels]


def _rgb(luma: Pixels, blue: Pixels, red: Pixels) -> Pixels:
    """Y H x W, U and V of half the width or size -> RGB; the weights are BT.601's times 256."""
    height, width = luma.shape
    y = 298 * np.maximum(luma.astype(np.int32) - 16, 0) + 128
    rows = height // blue.shape[0]
    u, v = (c.repeat(rows, 0).repeat(2, 1)[:, :width].astype(np.int32) - 128 for c in (blue, red))
    channels = (y + 409 * v, y - 100 * u - 208 * v, y + 516 * u)
    return np.stack([np.clip(c >> 8, 0, 255) for c in channels], -1).astype(np.uint8)


def _interleaved(channels: int, order: tuple[int, ...]) -> Callable[[Rows, int, int], Pixels]:
    def read(rows: Rows, height: int, width: int) -> Pixels:
        return rows(height, width * channels).reshape(height, width, channels)[..., order]

    return read


def _packed(luma: int, blue: int, red: int) -> Callable[[Rows, int, int], Pixels]:
    """Two pixels in four bytes; the places of the first Y, of U and of V."""

    def read(rows: Rows, height: int, width: int) -> Pixels:
        pair = rows(height, 2 * width).reshape(height, width // 2, 4)
        return _rgb(rows(height, 2 * width)[:, luma::2], pair[..., blue], pair[..., red])

    return read


def _planes(blue: int) -> Callable[[Rows, int, int], Pixels]:
    """All of Y, then U and V of every second row and column in turn."""

    def read(rows: Rows, height: int, width: int) -> Pixels:
        both = rows(height * 3 // 2, width)
        color = both[height:].reshape(height // 2, width // 2, 2)
        return _rgb(both[:height], color[..., blue], color[..., 1 - blue])

    return read


READERS: dict[str, Callable[[Rows, int, int], Pixels]] = {
    "rgb8": _interleaved(3, (0, 1, 2)),
    "bgr8": _interleaved(3, (2, 1, 0)),
    "rgba8": _interleaved(4, (0, 1, 2)),
    "bgra8": _interleaved(4, (2, 1, 0)),
    "8UC3": _interleaved(3, (2, 1, 0)),  # as OpenCV holds it
    "8UC4": _interleaved(4, (2, 1, 0)),
    "mono8": _interleaved(1, (0, 0, 0)),
    "8UC1": _interleaved(1, (0, 0, 0)),
    "uyvy": _packed(1, 0, 2),
    "yuv422": _packed(1, 0, 2),  # the older name of uyvy
    "yuyv": _packed(0, 1, 3),
    "yuv422_yuy2": _packed(0, 1, 3),  # the older name of yuyv
    "nv12": _planes(0),
    "nv21": _planes(1),
}


def pixels(message: Any) -> Pixels:
    """The RGB pixels of an image message, whatever its row padding; `DataError` for a bad one."""
    encoding, height, width = message.encoding, message.height, message.width
    if encoding not in READERS:
        raise DataError(
            "the camera's encoding is not known",
            got=encoding,
            expected=", ".join(READERS),
            hint="Convert it before, for example with image_proc.",
        )

    def rows(count: int, size: int) -> Pixels:
        held = np.frombuffer(message.data, np.uint8)
        if size > message.step or held.size < count * message.step:
            raise ValueError(f"{held.size} bytes in rows of {message.step}")
        return held[: count * message.step].reshape(count, message.step)[:, :size]

    try:
        if not (height and width):
            raise ValueError("no pixel")
        return np.ascontiguousarray(READERS[encoding](rows, height, width))
    except (ValueError, IndexError, ZeroDivisionError) as error:
        raise DataError(
            "the image message does not hold what it says",
            got=str(error),
            expected=f"{height} x {width} pixels of {encoding}",
        ) from error
