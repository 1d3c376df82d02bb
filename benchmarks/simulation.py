"""A simulated machine: runners that advance a clock by random times instead of computing.

The verdicts are calibrated on it (`benchmarks/calibration.py` and the tests): only where the truth
is known can the rate of wrong answers be counted. Four kinds of noise, on top of a slow drift that
both runners share. A block's own level is drawn for each of the two blocks of a pair: taking turns
does not even it out.

normal       each inference times exp(N(0, 0.03)), each block times exp(N(0, 0.02))
heavy-tailed the same with Student t noise of 3 degrees of freedom, and one inference in 50 takes
             up to several times as long (Pareto)
bursty       another program comes and goes (2 s on average, 8 s pauses) and slows down by 30 %
shared       somebody else has the other thread of the core, 50 ms on and 50 ms off on average:
             the times fall into two heaps, the slower one at 1.7 times
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from artoolkit.cost.machine import BlockState, Machine
from artoolkit.metrics import mean_iou
from artoolkit.spec import RunnerSpec, TensorSpec

Noise = Literal["normal", "heavy-tailed", "bursty", "shared"]
NOISES: tuple[Noise, ...] = ("normal", "heavy-tailed", "bursty", "shared")

SAMPLE_NOISE, BLOCK_NOISE, DRIFT = 0.03, 0.02, 0.002
# Seconds of the disturbance, of the pause after it, and how many times as long inferences take.
SPELLS: dict[str, tuple[float, float, float]] = {
    "bursty": (2.0, 8.0, 1.3), "shared": (0.05, 0.05, 1.7)
}  # fmt: skip


class SimulatedMachine(Machine):
    """Clock, noise and state of one simulated machine; deterministic by seed."""

    def __init__(self, noise: Noise, seed: int) -> None:
        super().__init__()
        self.noise, self.random = noise, np.random.default_rng(seed)
        self.now_s, self._drift, self.pairs = 0.0, 0.0, 0
        self._drawn: list[float] = []
        self._spells = SPELLS.get(noise)
        self._busy, self._change_s = False, 0.0

    def clock(self) -> float:
        return self.now_s

    def start(self) -> None:
        """A pair of blocks begins: the drift moves on."""
        self._drift += self.random.normal(0, DRIFT)
        self.pairs += 1

    def block_level(self) -> float:
        """Ratio of the inference times of one block to those of another."""
        return math.exp(self._draw(BLOCK_NOISE))

    def stop(self) -> BlockState:
        return BlockState(wall_s=1.0, own_cores=1.0)

    def _draw(self, scale: float) -> float:
        if not self._drawn:
            many = (
                self.random.standard_t(3, 1024) / math.sqrt(3)
                if self.noise == "heavy-tailed"
                else self.random.standard_normal(1024)
            )
            self._drawn = many.tolist()
        return scale * self._drawn.pop()

    def spend(self, seconds: float) -> None:
        """One inference that would take `seconds` on an idle machine."""
        level = math.exp(self._drift + self._draw(SAMPLE_NOISE))
        if self.noise == "heavy-tailed" and self.random.random() < 0.02:
            level *= 1 + float(self.random.pareto(2.5))
        if self._spells:
            burst_s, pause_s, slowdown = self._spells
            while self.now_s > self._change_s:
                self._busy = not self._busy
                self._change_s += self.random.exponential(burst_s if self._busy else pause_s)
            level *= slowdown if self._busy else 1.0
        self.now_s += seconds * level


class SimulatedRunner:
    """Takes `latency_ms` of its machine's time an inference and answers nothing."""

    def __init__(self, machine: SimulatedMachine, latency_ms: float) -> None:
        self.machine, self.latency_ms = machine, latency_ms
        self._pair, self._level = 0, 1.0
        image = TensorSpec(name="image", dtype="uint8", shape=(1, 1, 1, 3))
        self.spec = RunnerSpec(
            backend="onnxruntime",
            device="simulated",
            inputs=(image,),
            outputs=(),
            settings={"noise": machine.noise, "latency_ms": latency_ms},
        )

    def infer(self, images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        if self._pair != self.machine.pairs:
            self._pair, self._level = self.machine.pairs, self.machine.block_level()
        self.machine.spend(self._level * self.latency_ms / 1e3)
        return {}

    def close(self) -> None:
        pass


Counts = NDArray[np.int64]
_PIXELS, OWN_LUCK, _MANY = 10_000, 0.02, 50_000


def simulated_accuracy(
    images: int, difference_points: float, *, classes: int, seed: int
) -> tuple[Counts, Counts]:
    """Confusion matrices (N x C x (C + 1) each) of two networks on the same simulated images.

    Images differ in what they show (class areas are Dirichlet, the rarest classes in one image of
    four) and in how hard they are; the two networks agree on most of it. The candidate's mIoU over
    all images that could be drawn is `difference_points` below or above the baseline's, up to
    about 0.01 points.
    """
    random = np.random.default_rng(seed)
    areas, hard, own = _scenes(images, classes, random)
    gain = _gain(difference_points, classes)
    baseline = _matrices(areas, hard, OWN_LUCK * own[0])
    return baseline, _matrices(areas, hard, OWN_LUCK * own[1] + gain)


def _scenes(
    images: int, classes: int, random: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Pixels of each class and image, accuracy of each, and what is each network's own luck."""
    weights = random.dirichlet(0.5 + np.arange(classes)[::-1], images)
    present = random.random((images, classes)) < np.linspace(1.0, 0.25, classes)
    areas = np.floor(_PIXELS * weights * present)
    hard = np.linspace(0.95, 0.6, classes) + 0.08 * random.standard_normal((images, 1))
    hard = hard + 0.05 * random.standard_normal((images, classes))
    return areas, hard, random.standard_normal((2, images, classes))


def _matrices(
    areas: NDArray[np.float64], hard: NDArray[np.float64], change: NDArray[np.float64]
) -> Counts:
    """Right pixels on the diagonal; the wrong ones go to the next class."""
    classes = areas.shape[1]
    right = np.rint(areas * np.clip(hard + change, 0.02, 0.99)).astype(np.int64)
    matrices = np.zeros((len(areas), classes, classes + 1), np.int64)
    index = np.arange(classes)
    matrices[:, index, index] = right
    matrices[:, index, (index + 1) % classes] = areas.astype(np.int64) - right
    return matrices


@lru_cache
def _gain(difference_points: float, classes: int) -> float:
    """The shift of the accuracies that changes the mIoU of very many images by so many points."""
    random = np.random.default_rng(0)
    areas, hard, own = _scenes(_MANY, classes, random)
    baseline = mean_iou(_matrices(areas, hard, OWN_LUCK * own[0]).sum(0))
    low, high = -0.1, 0.1
    for _ in range(30):
        middle = (low + high) / 2
        reached = mean_iou(_matrices(areas, hard, OWN_LUCK * own[1] + middle).sum(0)) - baseline
        low, high = (middle, high) if 100 * reached < difference_points else (low, middle)
    return (low + high) / 2
