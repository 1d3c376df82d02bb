"""Cost against image size and batch: time beside 1024 x 2048, and the memory of a fresh process.

    python benchmarks/image_size.py

`icnet` (or --network) in fp32, ONNX Runtime on the CPU, untrained. Each size is timed
in turn with 1024 x 2048 in the same process; memory is the peak of a process that does nothing
else (`artoolkit.cost.memory`), less what it had before it opened the network. A line is fitted
to both over the pixels by least squares of relative errors, so that every size counts the same.
"""

from __future__ import annotations

import statistics
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
from side_by_side import Size, exported, in_turn, ratio, spread_percent, street, words
from suite import is_measured, not_measured, run_suite, shared_options

from artoolkit.backends.onnxruntime.runner import open_onnxruntime
from artoolkit.cores import usable_cores
from artoolkit.cost.memory import process_memory

SUITE = "image-size"
REFERENCE: Size = (1024, 2048)
SIZES: tuple[Size, ...] = (
    (256, 512), (384, 768), (512, 1024), (768, 1536), REFERENCE, (1536, 3072), (2048, 4096),
)  # fmt: skip
BATCHES = (2, 4)
MIB = 2**20


@dataclass(frozen=True)
class Line:
    """cost = fixed + slope * pixels, and each point's distance in percent of the line."""

    fixed: float
    slope: float
    residuals_percent: tuple[float, ...]


@dataclass(frozen=True)
class Point:
    """One measured size: pixels a run, time / the reference's, MiB above the empty process."""

    size: Size
    batch: int
    time: float
    spread_percent: float
    mib: float

    @property
    def pixels(self) -> int:
        return self.batch * self.size[0] * self.size[1]


def measured(
    network: str, size: Size, batch: int, *, folder: Path, budget_s: float, processes: int
) -> dict[str, Any]:
    """Seconds beside the reference size, and bytes of fresh processes."""
    path = exported(network, folder, imgsz=size, batch=batch)
    images, image = street(size, batch), street(REFERENCE)
    with (
        open_onnxruntime(path) as runner,
        open_onnxruntime(exported(network, folder, imgsz=REFERENCE)) as reference,
    ):
        runs = {"case": lambda: runner.infer(images), "reference": lambda: reference.infer(image)}
        samples = in_turn(runs, budget_s=budget_s)
    memory = process_memory(path, runs=processes).model_dump(mode="json")
    return {"size": size, "batch": batch, "seconds": samples, "process": memory}


def points(raw: dict[str, Any]) -> list[Point]:
    """The measured sizes by batch and pixels."""
    found = [
        Point(
            size=tuple(row["size"]),
            batch=row["batch"],
            time=ratio(row["seconds"]),
            spread_percent=spread_percent(row["seconds"]),
            mib=memory_mib(row["process"]),
        )
        for row in raw.values()
        if is_measured(row)
    ]
    return sorted(found, key=lambda point: (point.batch, point.pixels))


def memory_mib(process: dict[str, Any]) -> float:
    """Median peak of the processes above what they had before the network was opened."""
    return float(statistics.median(process["peak_bytes"]) - process["before_bytes"]) / MIB


def fitted(pixels: list[int], costs: list[float]) -> Line:
    """The line with the least squares of relative errors: sum of ((line - cost) / cost)^2."""
    x, y = np.asarray(pixels, float), np.asarray(costs, float)
    matrix = np.stack([np.ones_like(x), x], 1) / y[:, None]
    (fixed, slope), *_ = np.linalg.lstsq(matrix, np.ones_like(y), rcond=None)
    line = fixed + slope * x
    return Line(float(fixed), float(slope), tuple(100 * (y / line - 1)))


def lines_of(found: list[Point]) -> tuple[Line, Line]:
    """The lines of time and memory over the pixels, of batch 1 alone."""
    single = [point for point in found if point.batch == 1]
    pixels = [point.pixels for point in single]
    return fitted(pixels, [p.time for p in single]), fitted(pixels, [p.mib for p in single])


def table(raw: dict[str, Any]) -> list[str]:
    """Markdown: every size with its cost per pixel beside the reference's, and the fitted lines."""
    found = points(raw)
    reference = next(point for point in found if (point.size, point.batch) == (REFERENCE, 1))
    time, memory = lines_of(found)
    residuals = dict(zip(
        [point.pixels for point in found if point.batch == 1],
        zip(time.residuals_percent, memory.residuals_percent, strict=True), strict=True,
    ))  # fmt: skip
    head = ["image, batch", f"time / {words(REFERENCE)}", "per pixel", "off the line"]
    head += ["memory, MiB", "per pixel", "off the line"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for point in found:
        pixels = point.pixels / reference.pixels
        off = residuals[point.pixels] if point.batch == 1 else None
        apart = ["-", "-"] if off is None else [f"{round(value):+d} %" for value in off]
        lines.append(
            f"| {words(point.size)}, {point.batch} "
            f"| {point.time:.3f} ± {point.spread_percent:.0f} % "
            f"| {point.time / pixels:.2f} | {apart[0]} "
            f"| {point.mib:.0f} | {point.mib / reference.mib / pixels:.2f} | {apart[1]} |"
        )
    return [*lines, "", *sentences(time, memory, reference), *not_measured(raw)]


def sentences(time: Line, memory: Line, reference: Point) -> list[str]:
    """Meaning of the fitted lines, in words."""
    fixed = 100 * time.fixed / (time.fixed + time.slope * reference.pixels)
    megapixel = memory.slope * 1e6
    words_of_time = (
        f"Time: a fixed cost of {fixed:.1f} % of the reference's and the rest with the pixels; no "
        f"size is further than {furthest(time):.0f} % from that line."
    )
    words_of_memory = (
        f"Memory: {memory.fixed:.0f} MiB whatever the size (libraries and weights) and "
        f"{megapixel:.0f} MiB for every million pixels; no size is further than "
        f"{furthest(memory):.0f} % from that line."
    )
    return [words_of_time, "", words_of_memory]


def furthest(line: Line) -> float:
    """The largest distance of a point from the line, in percent."""
    return max(abs(value) for value in line.residuals_percent)


@click.command()
@click.option("--network", default="icnet", show_default=True)
@click.option("--seconds", "budget_s", default=20.0, show_default=True, help="For each size.")
@click.option("--processes", default=3, show_default=True, help="Fresh ones for each size.")
@shared_options
def main(*, network: str, budget_s: float, processes: int, machine: str, again: bool) -> None:
    """Measure every size and batch; see the top of this file."""
    wanted = [(size, 1) for size in SIZES] + [(SIZES[0], batch) for batch in BATCHES]
    with tempfile.TemporaryDirectory() as folder:
        measure = partial(
            measured, network, folder=Path(folder), budget_s=budget_s, processes=processes
        )
        cases = {
            f"{words(size)}, batch {batch}": partial(measure, size, batch) for size, batch in wanted
        }
        settings = {
            "network": network, "threads": usable_cores(), "seconds": budget_s,
            "processes": processes,
        }  # fmt: skip
        click.echo(run_suite(SUITE, cases, machine=machine, settings=settings, again=again))


if __name__ == "__main__":
    main()
