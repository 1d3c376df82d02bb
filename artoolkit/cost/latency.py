"""Latency of a baseline against a candidate: interleaved blocks, an A/A control first.

The two blocks of a pair take turns of a few inferences, A B B A A B B A ..., so that whatever the
machine does falls on both alike: other programs come and go within a tenth of a second, and two
blocks one after the other differ by that. Runners of several threads settle first: the threads of
the one that has just inferred still spin, and take the processor from the other, so that a turn
begins with an inference that is not timed.
Neither runner finds all of its weights in the caches that the other one has used since. The control
compares the baseline with a second opening of itself: it shows what two openings of one file differ
by here, and it is done as soon as they are shown equal, which harms nothing since they are equal.
Its spread plans the number of pairs of the test proper, which is fixed before the test begins: a
test that stopped when it liked its answer would pass too often.

The clock belongs to the caller: `infer` is timed from uint8 images in host memory to label maps
in host memory, transfers included, decoding and resizing left out.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from artoolkit.cost.accelerator import device_identity
from artoolkit.cost.latency_record import (
    INCLUDES,
    Arm,
    Block,
    LatencyMeasurement,
    LatencySettings,
    Phase,
)
from artoolkit.cost.machine import Machine, heaviest, process_times
from artoolkit.evidence.records import header
from artoolkit.evidence.verdict import NAMELESS, Subject
from artoolkit.spec import RunnerSpec
from artoolkit.statistics import pairs_to_show, read_equivalence

Batch_contra = TypeVar("Batch_contra", contravariant=True)
Batch = TypeVar("Batch")
Progress = Callable[[str, float], None]

MOST_INFERENCES = 2000
# A machine that becomes slower on the way may use so much of the budget, and then has to stop.
OVERTIME = 1.2


class Timed(Protocol[Batch_contra]):
    """Anything that can be timed: a `Runner`, or what else infers from one kind of batch."""

    @property
    def spec(self) -> RunnerSpec: ...

    def infer(self, batch: Batch_contra, /) -> Any: ...

    def close(self) -> None: ...


@contextmanager
def quiet_collector() -> Iterator[None]:
    """No garbage collection inside, as it would fall on one arm by chance."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def time_block(
    runner: Timed[Batch],
    batches: Sequence[Batch],
    count: int,
    *,
    clock: Callable[[], float],
    first: int = 0,
) -> tuple[float, ...]:
    """Milliseconds of `count` inferences over `batches` in rotation, from number `first` on."""
    samples = []
    for index in range(first, first + count):
        batch = batches[index % len(batches)]
        start = clock()
        runner.infer(batch)
        samples.append(round((clock() - start) * 1e3, 6))
    return tuple(samples)


def warm_up(
    runners: Sequence[Timed[Batch]],
    batches: Sequence[Batch],
    *,
    duration_ms: float,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Run each in turn until each has run for `duration_ms`; the slower one's late median, ms."""
    samples: list[list[float]] = [[] for _ in runners]
    while True:
        for mine, runner in zip(samples, runners, strict=True):
            mine.extend(time_block(runner, batches, min(3, len(batches)), clock=clock))
        if all(sum(mine) >= duration_ms for mine in samples):
            return max(float(np.median(mine[len(mine) // 2 :])) for mine in samples)


def settling_inferences(spec: RunnerSpec) -> int:
    """Inferences at the start of a turn that are not timed: one where threads spin after the work.

    ONNX Runtime's do on a CPU, where there are several and the session does not let them sleep.
    """
    return int(spec.settings.get("intra_op_threads", 1) > 1 and spec.settings.get("spinning", True))


def inferences_a_turn(latency_ms: float, plan: LatencySettings, *, settling: int = 0) -> int:
    """As many as fill a turn, and more than those that only settle."""
    return max(1, 2 * settling, math.ceil(plan.turn_ms / max(latency_ms, 1e-6)))


def inferences_a_block(latency_ms: float, plan: LatencySettings, *, settling: int = 0) -> int:
    """As many as the plan asks for and a block's least duration needs, and the budget allows."""
    wanted = max(plan.inferences, math.ceil(plan.block_ms / max(latency_ms, 1e-6)))
    turn = inferences_a_turn(latency_ms, plan, settling=settling)
    timed = plan.budget_s * 1e3 * turn / (turn + settling)
    allowed = timed / (4 * plan.pairs * latency_ms)
    return max(1, min(wanted, math.floor(allowed), MOST_INFERENCES))


class _Session(Generic[Batch]):
    """Runs pairs of blocks and keeps them."""

    def __init__(
        self,
        batches: Sequence[Batch],
        latency_ms: float,
        plan: LatencySettings,
        *,
        settling: int,
        machine: Machine,
        clock: Callable[[], float],
        progress: Progress | None,
    ) -> None:
        self.batches, self.settling = batches, settling
        self.count = inferences_a_block(latency_ms, plan, settling=settling)
        self.turn = min(self.count, inferences_a_turn(latency_ms, plan, settling=settling))
        self.machine, self.clock, self.progress = machine, clock, progress
        self.blocks: list[Block] = []

    def pair(self, phase: Phase, index: int, first: Timed[Batch], second: Timed[Batch]) -> float:
        """One pair of blocks, A first in even pairs; log(B / A) of their quick inferences."""
        samples: dict[Arm, list[float]] = {"A": [], "B": []}
        self.machine.start()
        for arm, start, count in self._turns(index):
            runner = first if arm == "A" else second
            time_block(runner, self.batches, self.settling, clock=self.clock, first=start)
            samples[arm] += time_block(runner, self.batches, count, clock=self.clock, first=start)
        state = self.machine.stop()
        blocks = [
            Block(phase=phase, pair=index, arm=arm, samples_ms=tuple(found), state=state)
            for arm, found in samples.items()
        ]
        self.blocks += blocks
        return math.log(blocks[1].quick_ms / blocks[0].quick_ms)

    def _turns(self, index: int) -> Iterator[tuple[Arm, int, int]]:
        """Arm, number of the first inference and how many of each turn: A B B A A B ..."""
        for turn, start in enumerate(range(0, self.count, self.turn)):
            arms: tuple[Arm, Arm] = ("A", "B") if (index + turn) % 2 == 0 else ("B", "A")
            for arm in arms:
                yield arm, start, min(self.turn, self.count - start)

    def report(self, what: str, fraction: float) -> None:
        if self.progress:
            self.progress(what, min(fraction, 1.0))


def _control(
    session: _Session[Batch], first: Timed[Batch], second: Timed[Batch], *, plan: LatencySettings
) -> list[float]:
    """Pairs of the control until it reads equal or its share of the budget is spent.

    At least the plan's number, unless even that takes more than 60 % of the budget: the machine
    has become much slower since the warm-up.
    """
    ratios: list[float] = []
    start = session.clock()
    while True:
        ratios.append(session.pair("control", len(ratios), first, second))
        session.report("control: baseline against itself", len(ratios) / plan.pairs)
        spent = (session.clock() - start) / plan.budget_s
        if len(ratios) < 2 or (len(ratios) < plan.pairs and spent < 0.6):
            continue
        reading = read_equivalence(ratios, margin_percent=plan.margin_percent).reading
        if reading == "equal" or spent >= 0.4:
            return ratios


def _test(
    session: _Session[Batch], first: Timed[Batch], other: Timed[Batch], *, pairs: int, until: float
) -> None:
    """The planned pairs, or the even number of them that `until` allows.

    By the clock alone, never by the answer: that would bias it.
    """
    for index in range(pairs):
        session.pair("test", index, first, other)
        session.report("baseline against candidate", (index + 1) / pairs)
        if index % 2 and session.clock() > until:
            return


def _planned_pairs(ratios: list[float], *, plan: LatencySettings, seconds_a_pair: float) -> int:
    """Pairs that the control's spread asks for, within what is left of the budget.

    Half as many again, since a control that ends when it looks good looks a little too good.
    """
    sd = read_equivalence(ratios, margin_percent=plan.margin_percent).sd_log
    wanted = math.ceil(1.5 * pairs_to_show(sd, plan.margin_percent, power=plan.power))
    left = plan.budget_s - len(ratios) * seconds_a_pair
    wanted = max(plan.pairs, min(wanted, math.floor(left / seconds_a_pair)))
    return wanted + wanted % 2


def _notes(count: int, latency_ms: float, plan: LatencySettings) -> tuple[str, ...]:
    if count >= plan.inferences:
        return ()
    note = (
        f"{count} inferences a block instead of {plan.inferences}: at {latency_ms:.1f} ms each, "
        f"{plan.budget_s:.0f} s allow no more; the 95th percentile is not judged"
    )
    return (note,)


def measure_latency(
    open_baseline: Callable[[], Timed[Batch]],
    open_candidate: Callable[[], Timed[Batch]],
    *,
    images: Sequence[Batch],
    subjects: tuple[Subject, Subject] = (NAMELESS, NAMELESS),
    plan: LatencySettings | None = None,
    machine: Machine | None = None,
    progress: Progress | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> LatencyMeasurement:
    """Times two runners against each other in this process; `artoolkit.checks.latency` judges it.

    `images`: at least one batch as the runners take it (uint8 N x H x W x 3 for a `Runner`); every
    block runs the same batches in the same order. The openers are called here, so that the control
    can open the baseline twice. `subjects` name baseline and candidate in the record. Raises what
    opening and running raise.
    """
    if not images:
        raise ValueError("latency needs at least one batch of images")
    plan = plan or LatencySettings()
    programs = process_times()
    with quiet_collector(), closing(open_baseline()) as first:
        with closing(open_baseline()) as second:
            latency_ms = warm_up([first, second], images, duration_ms=plan.warmup_ms, clock=clock)
            if plan.soak_s:
                warm_up([first], images, duration_ms=plan.soak_s * 1e3, clock=clock)
            session = _Session(
                images,
                latency_ms,
                plan,
                settling=settling_inferences(first.spec),
                machine=machine or Machine(),
                clock=clock,
                progress=progress,
            )
            start = clock()
            ratios = _control(session, first, second, plan=plan)
            seconds = (clock() - start) / len(ratios)
        with closing(open_candidate()) as other:
            slower_ms = warm_up([first, other], images, duration_ms=plan.warmup_ms, clock=clock)
            seconds *= max(1.0, (1 + slower_ms / latency_ms) / 2)
            pairs = _planned_pairs(ratios, plan=plan, seconds_a_pair=seconds)
            _test(session, first, other, pairs=pairs, until=start + OVERTIME * plan.budget_s)
            runners = (first.spec, other.spec)
    return LatencyMeasurement(
        **header(LatencyMeasurement, **device_identity(runners[0].device)),
        baseline=subjects[0],
        candidate=subjects[1],
        runners=runners,
        plan=plan,
        includes=INCLUDES,
        images=len(images),
        inferences_a_block=session.count,
        inferences_a_turn=session.turn,
        settling_inferences=session.settling,
        planned_pairs=pairs,
        blocks=tuple(session.blocks),
        other_programs=heaviest(programs, process_times()),
        notes=_notes(session.count, latency_ms, plan),
    )
