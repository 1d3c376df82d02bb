"""The newest frame of a camera -> label map, over and over, with the time that it takes.

    python camera_loop.py BUNDLE --source 0 --backend tensorrt
    python camera_loop.py BUNDLE --source pictures/ --out labels/

One thread reads frames and keeps only the newest, so that a slow network makes frames drop, never
the picture late. Printed are the percentiles from frame to labels and the frames that were dropped.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from artoolkit.backends import open_runner
from artoolkit.bundle import open_bundle
from artoolkit.data.pictures import read_rgb, write_png
from artoolkit.errors import ArtoolkitError, DataError
from artoolkit.optional import require
from artoolkit.preprocess import fit_image, fit_labels

Pixels = NDArray[np.uint8]
PICTURES = (".png", ".jpg", ".jpeg")


def frames(source: str) -> Iterator[Pixels]:
    """RGB frames of a camera's number, a video or stream that OpenCV opens, or a folder."""
    folder = Path(source)
    if folder.is_dir():
        yield from (read_rgb(p) for p in sorted(folder.iterdir()) if p.suffix.lower() in PICTURES)
        return
    cv2: Any = require("cv2", "reading a camera or video")
    capture = cv2.VideoCapture(int(source) if source.isdecimal() else source)
    if not capture.isOpened():
        raise DataError(f"camera or video {source} cannot be opened", hint="Check its number.")
    try:
        while True:
            read, frame = capture.read()
            if not read:
                return
            yield np.ascontiguousarray(frame[..., ::-1])
    finally:
        capture.release()


class Newest:
    """Reads frames on a thread of its own and keeps the newest one only."""

    def __init__(self, source: Iterator[Pixels], *, drop: bool) -> None:
        self._source, self._drop = source, drop
        self._ready = threading.Condition()
        self._frame: tuple[float, Pixels] | None = None
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

    def _put(self, frame: Pixels) -> None:
        with self._ready:
            if not self._drop:  # pictures of a folder wait to be taken
                self._ready.wait_for(lambda: self._frame is None)
            self.dropped += self._frame is not None
            self._frame = (time.perf_counter(), frame)
            self._ready.notify_all()

    def __iter__(self) -> Iterator[tuple[float, Pixels]]:
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


@dataclass
class Times:
    """Milliseconds from the moment a frame was read until its labels were there."""

    latency_ms: list[float] = field(default_factory=list)

    def line(self, dropped: int) -> str:
        if not self.latency_ms:
            return "no frame was seen"
        median, p95, p99 = np.percentile(self.latency_ms, (50, 95, 99))
        return (
            f"{len(self.latency_ms)} frames, {dropped} dropped; frame to labels: "
            f"median {median:.1f}, p95 {p95:.1f}, p99 {p99:.1f} ms"
        )


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--source", default="0", show_default=True, help="Camera number, video or folder.")
@click.option("--backend", help="onnxruntime, tensorrt or tensorrt-rtx.  [default: the target's]")
@click.option("--device", help="cpu or cuda:0.  [default: the target's]")
@click.option("--out", type=click.Path(path_type=Path), help="Write label maps into this folder.")
@click.option("--frames", "most", type=int, help="Stop after this many.")
def main(
    *, bundle: Path, source: str, backend: str | None, device: str | None, out: Path | None,
    most: int | None,
) -> None:  # fmt: skip
    """Run BUNDLE on every newest frame of a camera."""
    try:
        run(bundle, source, backend=backend, device=device, out=out, most=most)
    except ArtoolkitError as error:
        raise SystemExit(f"error: {error}") from error


def run(
    bundle: Path, source: str, *, backend: str | None = None, device: str | None = None,
    out: Path | None = None, most: int | None = None,
) -> Times:  # fmt: skip
    """The loop; returns the times, also when it is stopped with Ctrl-C."""
    opened, times = open_bundle(bundle), Times()
    target, table = opened.manifest.target, opened.manifest.labels
    with open_runner(opened, backend=backend, device=device) as runner:
        newest = Newest(frames(source), drop=not Path(source).is_dir())
        try:
            for number, (born, frame) in enumerate(newest):
                small = runner.infer(fit_image(frame, target.imgsz)[None])["labels"][0]
                labels = fit_labels(small, (frame.shape[0], frame.shape[1]))
                times.latency_ms.append((time.perf_counter() - born) * 1e3)
                if out is not None:
                    write_png(table.to_file_ids(labels), out / f"{number:06d}.png")
                if most is not None and number + 1 >= most:
                    break
        except KeyboardInterrupt:
            pass
    click.echo(times.line(newest.dropped))
    return times


if __name__ == "__main__":
    main()
