"""The newest frame of a camera -> label map, over and over, with the time that it takes.

    python camera_loop.py BUNDLE --source camera:0 --backend tensorrt
    python camera_loop.py BUNDLE --source pictures/ --out labels/

One thread reads frames and keeps only a camera's newest, so that a slow network makes frames drop,
never the picture late. `artoolkit predict BUNDLE camera:0` does the same; this is the loop to build
on: put what the robot does with a label map where `use` is called.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from artoolkit.backends import backend_names, open_runner
from artoolkit.data.frames import Frame, Newest, frames, is_live
from artoolkit.data.image_files import write_png
from artoolkit.errors import ArtoolkitError
from artoolkit.evidence.bundle import open_bundle
from artoolkit.preprocess import fit_image, fit_labels
from artoolkit.report.predictions import Followed
from artoolkit.words import CUDA_MEMORY, CudaMemory

Pixels = NDArray[np.uint8]
Use = Callable[[Frame, Pixels], None]


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--source", default="camera:0", show_default=True,
              help="camera:0, a stream's address, a video or a folder.")  # fmt: skip
@click.option("--backend", type=click.Choice(backend_names()), help="[default: the target's]")
@click.option("--device", help="cpu or cuda:0.  [default: the target's]")
@click.option("--cuda-memory", type=click.Choice(CUDA_MEMORY), help="[default: the target's]")
@click.option("--out", type=click.Path(path_type=Path), help="Write label maps into this folder.")
@click.option("--frames", "most", type=click.IntRange(min=1), help="Stop after this many.")
def main(
    *, bundle: Path, source: str, backend: str | None, device: str | None,
    cuda_memory: CudaMemory | None, out: Path | None, most: int | None,
) -> None:  # fmt: skip
    """Run BUNDLE on every newest frame of a camera."""
    table = open_bundle(bundle).manifest.labels

    def write(frame: Frame, labels: Pixels) -> None:
        if out is not None:
            write_png(table.to_file_ids(labels), out / f"{frame.index:06d}.png")

    try:
        followed = run(
            bundle, source, write, backend=backend, device=device, cuda_memory=cuda_memory,
            most=most,
        )  # fmt: skip
    except ArtoolkitError as error:
        raise SystemExit(f"error: {error}") from error
    click.echo(followed.line)


def run(
    bundle: Path, source: str, use: Use, *, backend: str | None = None, device: str | None = None,
    cuda_memory: CudaMemory | None = None, most: int | None = None,
) -> Followed:  # fmt: skip
    """`use` each frame with its uint8 H x W train ids; the times, also when Ctrl-C ends it."""
    opened, times = open_bundle(bundle), list[float]()
    imgsz = opened.manifest.target.imgsz
    with open_runner(opened, backend=backend, device=device, cuda_memory=cuda_memory) as runner:
        newest = Newest(frames(source), drop=is_live(source))
        try:
            for frame in newest:
                small = runner.infer(fit_image(frame.pixels, imgsz)[None])["labels"][0]
                labels = fit_labels(small, (frame.pixels.shape[0], frame.pixels.shape[1]))
                times.append((time.perf_counter() - frame.read_s) * 1e3)
                use(frame, labels)
                if most is not None and len(times) >= most:
                    break
        except KeyboardInterrupt:
            pass
    return Followed(tuple(times), newest.dropped)


if __name__ == "__main__":
    main()
