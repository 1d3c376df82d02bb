"""A data set of generated street scenes in Cityscapes' layout: real enough to train on in minutes.

The pictures come from `street.scene`; every one is a function of the seed, its split and number,
whatever the number of workers.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from artoolkit.data.cityscapes import IMAGE_ENDING, LABEL_IDS_ENDING
from artoolkit.data.image_files import write_png
from artoolkit.data.street.scene import street_scene
from artoolkit.errors import DataError, StorageError, UsageError
from artoolkit.evidence.seal import write_atomically
from artoolkit.files import parse_json, reading
from artoolkit.fresh_process import isolated_workers

# Raise it when the same seed gives other pictures than before.
GENERATOR = 1
CITY = "synthetic"
RECORD = "synthetic.json"
_SPLITS = ("train", "val")
_SMALLEST = 32


@dataclass(frozen=True)
class _Task:
    """One picture to paint and where to put it."""

    out: Path
    split: str
    index: int
    size_hw: tuple[int, int]
    seed: int

    def paths(self) -> tuple[Path, Path]:
        stem = f"{CITY}_{self.seed:06d}_{self.index:06d}"
        image = self.out / "leftImg8bit" / self.split / CITY / f"{stem}{IMAGE_ENDING}"
        return image, self.out / "gtFine" / self.split / CITY / f"{stem}{LABEL_IDS_ENDING}"

    def run(self) -> None:
        number = (self.seed, _SPLITS.index(self.split), self.index)
        pixels, labels = street_scene(number, self.size_hw)
        image, label = self.paths()
        write_png(pixels, image)
        write_png(labels, label)


def synthesize(
    out: Path,
    *,
    train: int = 40,
    val: int = 12,
    size_hw: tuple[int, int] = (256, 512),
    seed: int = 0,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write `train` + `val` scenes of `size_hw` pixels to `out`, readable as `cityscapes`.

    `progress` is called with the number done and the total. A folder that holds the same data set
    already is completed; `UsageError` if it holds another one, `StorageError` if it cannot be
    written. More than one worker starts processes: call it under `if __name__ == "__main__"`.
    """
    if train < 1 or val < 1 or min(size_hw) < _SMALLEST or seed < 0 or workers < 1:
        raise UsageError(
            "this data set cannot be generated",
            got=f"train {train}, val {val}, size {size_hw[0]} x {size_hw[1]}, seed {seed}, "
            f"workers {workers}",
            expected=f"at least one image a split, {_SMALLEST} pixels a side, seed 0 or more, "
            "one worker or more",
        )
    record = {
        "generator": GENERATOR,
        "train": train,
        "val": val,
        "imgsz": list(size_hw),
        "seed": seed,
    }
    tasks = [
        _Task(out, split, index, size_hw, seed)
        for split, count in zip(_SPLITS, (train, val), strict=True)
        for index in range(count)
    ]
    try:
        _claim(out, record)
        todo = [t for t in tasks if not all(path.exists() for path in t.paths())]
        for done, _ in enumerate(_run_all(todo, workers), len(tasks) - len(todo) + 1):
            if progress is not None:
                progress(done, len(tasks))
    except OSError as error:
        raise StorageError(f"cannot write the data set to {out}: {error}") from error


def _claim(out: Path, record: dict[str, object]) -> None:
    path = out / RECORD
    known = None
    if path.is_file():
        with reading(path, DataError):
            known = parse_json(path.read_bytes())
    if known != record and (known is not None or (out / "leftImg8bit").exists()):
        raise UsageError(f"{out} holds another data set already", got=known, expected=record,
                         hint="Choose another folder or remove it.")  # fmt: skip
    write_atomically(path, (json.dumps(record) + "\n").encode())


def _run_all(tasks: list[_Task], workers: int) -> Iterator[None]:
    if workers == 1 or len(tasks) < 2 * workers:
        for task in tasks:
            task.run()
            yield
        return
    # Spawned, because a forked copy of a process with threads (torch's) may hang.
    context = multiprocessing.get_context("spawn")
    with isolated_workers(), ProcessPoolExecutor(workers, context) as pool:
        futures = [pool.submit(task.run) for task in tasks]
        try:
            for future in as_completed(futures):
                future.result()
                yield
        finally:
            pool.shutdown(cancel_futures=True)
