"""Untrained networks as they are deployed, timed in turn with a reference in the same process.

Only ratios of such times mean anything: what else the machine does meets both.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from artoolkit.backends.openvino.loader import compiled
from artoolkit.backends.openvino.runner import OpenVinoRunner
from artoolkit.data.street.scene import street_scene
from artoolkit.deploy.onnx import graph_from_checkpoint, write_onnx
from artoolkit.deploy.quantize import Calibration, calibrate, quantized
from artoolkit.deploy.untrained import untrained_checkpoint
from artoolkit.networks.checkpoint import Checkpoint
from artoolkit.networks.complexity import CLASSES
from artoolkit.spec import Target
from artoolkit.targets import find_target
from artoolkit.words import Precision

Size = tuple[int, int]
Seconds = dict[str, list[float]]
REFERENCE = "icnet"
# Ranges of an int8 network have no influence on its time: a small image gives them.
CALIBRATED_AT = (256, 512)
# The threads of a session that has just run still spin, on the cores that the next one needs.
PAUSE_S = 0.1


def words(size: Size) -> str:
    """`512 x 1024`, height first."""
    return f"{size[0]} x {size[1]}"


@lru_cache(maxsize=2)
def checkpoint_of(network: str) -> Checkpoint:
    """`network` with random weights, the same every time."""
    return untrained_checkpoint(network, CLASSES)


@lru_cache(maxsize=2)
def street(size: Size, batch: int = 1) -> NDArray[np.uint8]:
    """uint8 `batch` x H x W x 3: generated streets."""
    return np.stack([street_scene(seed, size)[0] for seed in range(batch)])


def exported(network: str, folder: Path, **target: Any) -> Path:
    """The deployed graph of `network` for the CPU; `target` is put over it. Made once a folder."""
    chosen = find_target("cpu", **target)
    size = "x".join(map(str, (chosen.batch, *chosen.imgsz)))
    place = chosen.device.partition(":")[0]
    name = f"{network}-{chosen.precision}-{place}-{size}"
    path = folder / f"{name}.onnx"
    if not path.exists():
        write_deployed(network, chosen, path)
    return path


def write_deployed(network: str, target: Target, path: Path) -> None:
    """As an export writes it; int8 with ranges from one small image."""
    model, trained = graph_from_checkpoint(checkpoint_of(network), target)
    if target.precision == "int8":
        model, trained = quantized(model, trained, target, ranges_of(network))
    write_onnx(model, trained, path)


@lru_cache(maxsize=2)
def ranges_of(network: str) -> Calibration:
    """Ranges for int8, the same for every size of image."""
    target = find_target("cpu", precision="int8", imgsz=CALIBRATED_AT)
    return calibrate(checkpoint_of(network), target, street(CALIBRATED_AT))


def open_openvino(
    path: Path, precision: Precision, *, float_precision: Precision = "bf16",
    threads: int | None = None,
) -> OpenVinoRunner:  # fmt: skip
    """A bare file in OpenVINO, `float_precision` between what int8 quantises.

    `BackendError` where this processor does not compute in them, before anything is measured.
    """
    how = {"precision": precision, "float_precision": float_precision, "threads": threads}
    return OpenVinoRunner(compiled(path, device="cpu", **how), "cpu")  # type: ignore[arg-type]


def in_turn(
    runs: Mapping[str, Callable[[], object]], *, budget_s: float, least: int = 5, most: int = 20
) -> Seconds:
    """Wall seconds of every run, round by round, in an order that turns around each round.

    Each runs twice before; the second time says how many rounds fit into `budget_s`. A pause goes
    before each, so that what ran before it is at rest.
    """
    for run in runs.values():
        run()
    fit = int(budget_s / sum(PAUSE_S + seconds(run) for run in runs.values()))
    samples: Seconds = {name: [] for name in runs}
    order = list(runs)
    for _ in range(min(most, max(least, fit))):
        for name in order:
            time.sleep(PAUSE_S)
            samples[name].append(seconds(runs[name]))
        order.reverse()
    return samples


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """`count` threads for torch, and then as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def ratios(samples: Seconds, name: str, reference: str) -> list[float]:
    """`name` in `reference`, round by round: what slows a round down slows both."""
    return [a / b for a, b in zip(samples[name], samples[reference], strict=True)]


def ratio(samples: Seconds, name: str = "case", reference: str = "reference") -> float:
    """Median over the rounds of the ratio within a round."""
    return statistics.median(ratios(samples, name, reference))


def spread_percent(samples: Seconds, name: str = "case", reference: str = "reference") -> float:
    """Half the distance between the quartiles of the rounds' ratios, in percent of the median."""
    found = ratios(samples, name, reference)
    low, middle, high = np.percentile(found, [25, 50, 75])
    return float(50 * (high - low) / middle)
