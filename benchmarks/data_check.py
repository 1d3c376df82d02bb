"""Time of `data check` beside decoding the labels: generated streets, at two sizes.

    python benchmarks/data_check.py

Three passes over the same files take turns, in threads of the same number: decoding every label
with Pillow into an array, reading every label as training does (ids become train ids, and the size
is held to the image's), and the whole check. A round's ratio is of processor
time, since waiting for another program is nobody's work.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image
from suite import is_measured, not_measured, run_suite, shared_options

from artoolkit.cores import usable_cores
from artoolkit.data import Sample, open_dataset
from artoolkit.data.check import check_dataset
from artoolkit.data.synthetic import synthesize

SETS = {"360 x 480": (360, 480, 120), "1024 x 2048": (1024, 2048, 24)}  # height, width, images
DECODE, READ, CHECK = "decode", "read", "check"


def decoded(sample: Sample) -> None:
    """Decode a label as it is."""
    assert sample.label is not None, "every image has its label here"
    with Image.open(sample.label) as picture:
        np.asarray(picture)


def in_threads(work: Callable[[Sample], object], samples: tuple[Sample, ...], workers: int) -> None:
    """`work` on all samples."""
    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(work, samples):
            pass


def measured(root: Path, workers: int, rounds: int) -> dict[str, Any]:
    """Processor and wall seconds of each pass and round; one round before is not counted."""
    data = open_dataset("cityscapes", root)
    samples = data.samples("train")
    passes: dict[str, Callable[[], object]] = {
        DECODE: partial(in_threads, decoded, samples, workers),
        READ: partial(in_threads, data.read_label, samples, workers),
        CHECK: partial(check_dataset, data, splits=("train",), workers=workers),
    }
    spent: dict[str, dict[str, list[float]]] = {
        name: {"cpu_s": [], "wall_s": []} for name in passes
    }
    for turn in range(rounds + 1):
        for name, run in passes.items():
            cpu, wall = time.process_time(), time.perf_counter()
            run()
            if turn:
                spent[name]["cpu_s"].append(time.process_time() - cpu)
                spent[name]["wall_s"].append(time.perf_counter() - wall)
    return {"images": len(samples), "workers": workers, "passes": spent}


def ratio(row: dict[str, Any], beside: str) -> float:
    """Median over the rounds of the check's processor time in that of the pass `beside`."""
    of, to = (row["passes"][name]["cpu_s"] for name in (CHECK, beside))
    return statistics.median(a / b for a, b in zip(of, to, strict=True))


def table(raw: dict[str, Any]) -> list[str]:
    """Markdown, a line a set and number of threads."""
    lines = [
        "| labels | threads | decoding one, ms | check / decoding | check / reading for training |",
        "|---|---|---|---|---|",
    ]
    for name, row in raw.items():
        if is_measured(row):
            one = 1e3 * statistics.median(row["passes"][DECODE]["cpu_s"]) / row["images"]
            cells = (one, ratio(row, DECODE), ratio(row, READ))
            size = name.partition(",")[0]
            lines.append(
                f"| {size} | {row['workers']} | " + " | ".join(f"{c:.2f}" for c in cells) + " |"
            )
    return lines + not_measured(raw)


@click.command()
@shared_options
@click.option("--rounds", default=7, show_default=True, type=click.IntRange(min=1))
def main(*, machine: str, again: bool, rounds: int) -> None:
    """Time the check; see the top of this file."""
    with tempfile.TemporaryDirectory() as scratch:

        def case(height: int, width: int, images: int, workers: int) -> dict[str, Any]:
            root = Path(scratch, f"{height}x{width}")
            synthesize(root, train=images, val=1, size_hw=(height, width), workers=usable_cores())
            return measured(root, workers, rounds)

        cases = {
            f"{name}, {workers} threads": partial(case, *numbers, workers)
            for name, numbers in SETS.items()
            for workers in sorted({1, usable_cores()})
        }
        settings = {"sets": SETS, "rounds": rounds}
        path = run_suite("data-check", cases, machine=machine, settings=settings, again=again)
    click.echo(path.name)


if __name__ == "__main__":
    main()
