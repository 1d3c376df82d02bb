"""Label maps and overlays as files: of pictures, of a video, of a camera.

Decoding, inference and writing overlap, with a few pictures waiting between them at most.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from artoolkit.data.frames import Newest, frame_rate, frames, is_live
from artoolkit.data.image_files import read_rgb, write_png
from artoolkit.data.jobs import Job
from artoolkit.data.overlap import WriteBehind
from artoolkit.errors import StorageError
from artoolkit.evaluation.predictor import Pixels, Predictor, predicted
from artoolkit.labels import LabelTable
from artoolkit.optional import require
from artoolkit.report.overlay import overlay

# Encoding a PNG takes about as long as predicting it.
_WRITERS = 2


@dataclass(frozen=True)
class Followed:
    """Result of a stream: milliseconds from frame to labels, and frames that were dropped."""

    latencies_ms: tuple[float, ...]
    dropped: int

    @property
    def line(self) -> str:
        if not self.latencies_ms:
            return "no frame was seen"
        median, p95, p99 = np.percentile(self.latencies_ms, (50, 95, 99))
        return (
            f"{len(self.latencies_ms)} frames, {self.dropped} dropped; frame to labels: "
            f"median {median:.1f}, p95 {p95:.1f}, p99 {p99:.1f} ms"
        )


def write_predictions(
    predictor: Predictor, jobs: Sequence[Job], out: Path, *, overlays: bool = True
) -> Iterator[Job]:
    """Write `out/labels` (uint8 PNG in the data set's ids) and `out/overlays`.

    Yields each job, in order, when its files are there. Raises `DataError` for a picture that
    cannot be read and `StorageError` for a file that cannot be written.
    """
    table = predictor.labels

    def write(job: Job, image: Pixels, labels: Pixels) -> Job:
        write_png(table.to_file_ids(labels), out / "labels" / job.name)
        if overlays:
            shown = job.name.with_name(f"{job.name.stem}_overlay.png")  # no label map's name
            write_png(overlay(image, labels, table), out / "overlays" / shown)
        return job

    found = predicted(predictor, jobs, lambda job: (read_rgb(job.image), None))
    with WriteBehind[Job](threads=_WRITERS) as behind:
        for job, image, _, labels in found:
            yield from behind.submit(write, job, image, labels)
        yield from behind.rest()


def follow(
    predictor: Predictor,
    source: str,
    *,
    out: Path | None = None,
    overlays: bool = True,
    most: int | None = None,
) -> Generator[Followed, None, None]:
    """Predict the frames of `camera:0`, a stream or a video, at most `most`; yields after each.

    Of a camera or stream the newest frame is taken and the others are dropped; a video waits.
    Writes `out/labels/000000.png` and on, and the overlays as `out/overlay.mp4`. Raises `DataError`
    where the source cannot be read, `StorageError` where a file cannot be written.
    """
    newest, times = Newest(frames(source), drop=is_live(source)), list[float]()
    table = predictor.labels
    with _video(out if overlays else None, source) as show, WriteBehind[None]() as behind:
        for frame in newest:
            labels = predictor([frame.pixels])[0]
            times.append((time.perf_counter() - frame.read_s) * 1e3)
            if out is not None:
                path = out / "labels" / f"{frame.index:06d}.png"
                for _ in behind.submit(write_png, table.to_file_ids(labels), path):
                    pass
            show(frame.pixels, labels, table)
            yield Followed(tuple(times), newest.dropped)
            if most is not None and len(times) >= most:
                break


@contextmanager
def _video(out: Path | None, source: str) -> Iterator[Any]:
    """A function that appends one overlay to `out/overlay.mp4`; one that does nothing for None."""
    if out is None:
        yield lambda *_: None
        return
    cv2: Any = require("cv2", "writing a video")
    path, writer = out / "overlay.mp4", None
    out.mkdir(parents=True, exist_ok=True)

    def show(image: Pixels, labels: Pixels, table: LabelTable) -> None:
        nonlocal writer
        if writer is None:
            code = cv2.VideoWriter_fourcc(*"mp4v")
            writer = cv2.VideoWriter(str(path), code, frame_rate(source), image.shape[1::-1])
            if not writer.isOpened():
                raise StorageError(f"{path} cannot be written", hint="Use --no-overlays.")
        writer.write(np.ascontiguousarray(overlay(image, labels, table)[..., ::-1]))

    try:
        yield show
    finally:
        if writer is not None:
            writer.release()
