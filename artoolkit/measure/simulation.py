"""A simulated machine: runners that advance a clock by random times instead of computing.

The verdicts are calibrated on it (`benchmarks/calibration.py` and the tests): only where the truth
is known can the rate of wrong answers be counted. Three kinds of noise, on top of a slow drift that
both runners share:

normal       each inference times exp(N(0, 0.03)), each block times exp(N(0, 0.02))
heavy-tailed the same with Student t noise of 3 degrees of freedom, and one inference in 50 takes
             up to several times as long (Pareto)
bursty       another program comes and goes (2 s on average, 8 s pauses) and slows down by 30 %
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from artoolkit.measure.machine import BlockState, Machine
from artoolkit.spec import RunnerSpec, TensorSpec

Noise = Literal["normal", "heavy-tailed", "bursty"]
NOISES: tuple[Noise, ...] = ("normal", "heavy-tailed", "bursty")

SAMPLE_NOISE, BLOCK_NOISE, DRIFT = 0.03, 0.02, 0.002
BURST_S, PAUSE_S, SLOWDOWN = 2.0, 8.0, 1.3


class SimulatedMachine(Machine):
    """Clock, noise and state of one simulated machine; deterministic by seed."""

    def __init__(self, noise: Noise, seed: int) -> None:
        super().__init__()
        self.noise, self.random = noise, np.random.default_rng(seed)
        self.now_s, self._drift, self._block = 0.0, 0.0, 0.0
        self._busy, self._change_s = False, self.random.exponential(PAUSE_S)

    def clock(self) -> float:
        return self.now_s

    def start(self) -> None:
        """A block begins: the drift moves on and the block gets its own level."""
        self._drift += self.random.normal(0, DRIFT)
        self._block = self._draw(BLOCK_NOISE)

    def stop(self) -> BlockState:
        return BlockState(wall_s=1.0, own_cores=1.0)

    def _draw(self, scale: float) -> float:
        if self.noise == "heavy-tailed":
            return scale * float(self.random.standard_t(3)) / math.sqrt(3)
        return scale * float(self.random.normal())

    def spend(self, seconds: float) -> None:
        """One inference that would take `seconds` on an idle machine."""
        level = math.exp(self._drift + self._block + self._draw(SAMPLE_NOISE))
        if self.noise == "heavy-tailed" and self.random.random() < 0.02:
            level *= 1 + float(self.random.pareto(2.5))
        if self.noise == "bursty":
            while self.now_s > self._change_s:
                self._busy = not self._busy
                self._change_s += self.random.exponential(BURST_S if self._busy else PAUSE_S)
            level *= SLOWDOWN if self._busy else 1.0
        self.now_s += seconds * level


class SimulatedRunner:
    """Takes `latency_ms` of its machine's time an inference and answers nothing."""

    def __init__(self, machine: SimulatedMachine, latency_ms: float) -> None:
        self.machine, self.latency_ms = machine, latency_ms
        image = TensorSpec(name="image", dtype="uint8", shape=(1, 1, 1, 3))
        self.spec = RunnerSpec(
            backend="onnxruntime",
            device="simulated",
            inputs=(image,),
            outputs=(),
            settings={"noise": machine.noise, "latency_ms": latency_ms},
        )

    def infer(self, images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        self.machine.spend(self.latency_ms / 1e3)
        return {}

    def close(self) -> None:
        pass
