"""Latency and memory of one network on this machine, with the words for what the numbers include.

For comparing two networks use `artoolkit.cost.latency`: two benchmarks one after the other
compare the machine's moods as much as the networks.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from artoolkit.backends import backend_for
from artoolkit.cost.accelerator import device_identity, gpu_reader
from artoolkit.cost.latency import Batch, Timed, quiet_collector, warm_up
from artoolkit.cost.latency_record import INCLUDES
from artoolkit.cost.machine import BlockState, Machine
from artoolkit.cost.memory import ProcessMemory, process_memory
from artoolkit.cost.opening import feeds_for, model_at, subject_of
from artoolkit.errors import ArtoolkitError, UsageError
from artoolkit.evidence.records import Record, header
from artoolkit.evidence.verdict import Subject
from artoolkit.graph.memory import MemoryComponents
from artoolkit.spec import Frozen, RunnerSpec

log = logging.getLogger(__name__)
SOURCE_KEYS = ("h2dMs", "computeMs", "d2hMs")


class BenchmarkSettings(Frozen):
    """Length of the measurement; it ends when both duration and number of inferences are reached.

    `soak_s`: the network runs so long before, so that the device is as warm as in use.
    """

    warmup_ms: float = Field(default=200.0, ge=0)
    soak_s: float = Field(default=0.0, ge=0)
    duration_s: float = Field(default=3.0, ge=0)
    iterations: int = Field(default=10, ge=1)
    percentiles: tuple[float, ...] = (90.0, 95.0, 99.0)


class BenchmarkMeasurement(Record):
    """Raw samples of one runner; each holds trtexec's keys as far as the backend knows them."""

    KIND: ClassVar[str] = "performance"

    subject: Subject
    runner: RunnerSpec
    plan: BenchmarkSettings
    includes: str
    samples: tuple[dict[str, float], ...]
    state: BlockState
    components: MemoryComponents | None = None
    process: ProcessMemory | None = None
    layers_ms: dict[str, list[float]] | None = None

    def latencies_ms(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.array([sample["latencyMs"] for sample in self.samples])

    def percentile_ms(self, percent: float) -> float:
        return float(np.percentile(self.latencies_ms(), percent))

    def stage_ms(self, key: str) -> float | None:
        """Median of one of trtexec's stages, by the GPU's events; None where it is not known."""
        known = [sample[key] for sample in self.samples if key in sample]
        return float(np.median(known)) if known else None

    @property
    def images_per_second(self) -> float:
        """Throughput of one inference after the other, by the mean latency."""
        batch = self.runner.inputs[0].shape[0] if self.runner.inputs[0].shape else 1
        return 1e3 * batch / float(self.latencies_ms().mean())


def _sample(
    runner: Timed[Batch], batch: Batch, *, clock: Callable[[], float], start: float
) -> dict[str, float]:
    """One inference with trtexec's keys; times within the runner only where it tells them."""
    begin = clock()
    runner.infer(batch)
    end = clock()
    sample = {"startEnqMs": (begin - start) * 1e3, "latencyMs": (end - begin) * 1e3}
    stages = getattr(runner, "stages_ms", None)
    if isinstance(stages, dict):
        sample |= {key: float(stages[key]) for key in SOURCE_KEYS if key in stages}
    return {key: round(value, 6) for key, value in sample.items()}


def measure_benchmark(
    runner: Timed[Batch],
    batches: Sequence[Batch],
    *,
    subject: Subject,
    plan: BenchmarkSettings,
    machine: Machine | None = None,
    components: MemoryComponents | None = None,
    process: ProcessMemory | None = None,
    progress: Callable[[str, float], None] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> BenchmarkMeasurement:
    """Times an open runner over `batches` in turn, after a warm-up; nothing is clipped."""
    machine = machine or Machine()
    if keep_stages := getattr(runner, "keep_stages", None):
        keep_stages()
    samples: list[dict[str, float]] = []
    with quiet_collector():
        warm_ms = max(plan.warmup_ms, plan.soak_s * 1e3)
        warm_up([runner], batches, duration_ms=warm_ms, clock=clock)
        machine.start()
        start = clock()
        while len(samples) < plan.iterations or clock() - start < plan.duration_s:
            batch = batches[len(samples) % len(batches)]
            samples.append(_sample(runner, batch, clock=clock, start=start))
            if progress and plan.duration_s:
                progress("inferences", min((clock() - start) / plan.duration_s, 1.0))
        state = machine.stop()
    return BenchmarkMeasurement(
        **header(BenchmarkMeasurement, **device_identity(runner.spec.device)),
        subject=subject,
        runner=runner.spec,
        plan=plan,
        includes=INCLUDES,
        samples=tuple(samples),
        state=state,
        components=components,
        process=process,
    )


def benchmark(
    path: Path,
    *,
    plan: BenchmarkSettings | None = None,
    backend: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    memory: bool = True,
    layers: int = 0,
    progress: Callable[[str, float], None] | None = None,
    **options: Any,
) -> BenchmarkMeasurement:
    """Latency and memory of the bundle or bare file at `path`, opened on `backend` and `device`.

    None: what it was made for; `options` are the backend's own. `memory`: bytes by component and
    the peak of a fresh process too; where the first is not known, the log says why. `layers`:
    inferences in which each layer is timed as well, after the others. Raises `BundleError` where
    the bundle was changed, and what opening raises.
    """
    model = model_at(path, check_hashes=True)
    runs = backend_for(model, backend, **options)
    device = runs.device_for(model, device)
    with closing(runs.open(model, device=device, threads=threads)) as runner:
        components = process = None
        if memory:
            process = process_memory(path, backend=runs, device=device, threads=threads)
            try:
                _, components = runs.memory(model, device=device, threads=threads)
            except ArtoolkitError as error:
                log.warning("memory by component is not known: %s", error)
        feeds = feeds_for(model, runner.spec)
        record = measure_benchmark(
            runner,
            [feeds],
            subject=subject_of(model),
            plan=plan or BenchmarkSettings(),
            machine=Machine(gpu_reader(device)),
            components=components,
            process=process,
            progress=progress,
        )
        if not layers:
            return record
        timed = getattr(runner, "layer_times", None)
        if timed is None:
            raise UsageError(f"{runs.name} times no layers here", hint="Try --roofline (CPU).")
        return record.model_copy(update={"layers_ms": timed(feeds, layers)})
