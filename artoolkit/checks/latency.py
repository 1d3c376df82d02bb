"""The latency check: control, quick tenth, median and tail against the margin declared before.

The 10th percentile of each block decides PASS (`latency_record.QUICK` says why, and
benchmarks/calibration.md how often); median and tail can only fail a candidate.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import get_args

import numpy as np

from artoolkit.checks.contest import Pair
from artoolkit.checks.kind import CheckKind, Records, Terms
from artoolkit.cost.accelerator import gpu_reader
from artoolkit.cost.latency import measure_latency
from artoolkit.cost.latency_record import MOST_SECONDS, Arm, Block, LatencyMeasurement, Phase
from artoolkit.cost.machine import BlockState, Disturbance, Machine, disturbances
from artoolkit.evidence.verdict import Check, Result, in_brief
from artoolkit.spec import Frozen
from artoolkit.statistics import Equivalence, read_equivalence

# A 95th percentile of fewer samples is their maximum.
TAIL_INFERENCES = 20
Statistic = Callable[[Block], float]
_STATISTICS: dict[str, Statistic] = {
    "10th percentile": lambda block: block.quick_ms,
    "median": lambda block: block.median_ms,
    "95th percentile": lambda block: block.p95_ms,
}


class LatencyResult(Frozen):
    """Control, quick tenth, median and tail, in percent of A; the tail None in too short blocks.

    `quick_ms` and `median_ms` are the times of baseline and candidate: 10th percentile and median
    of a block, in the median over the blocks. `disturbed_blocks` counts blocks during which the
    machine did something else; `disturbances` says what, each with the number of blocks. All of
    them are part of the result.
    """

    control: Equivalence
    quick: Equivalence
    median: Equivalence
    tail: Equivalence | None
    quick_ms: tuple[float, float]
    median_ms: tuple[float, float]
    blocks: int
    disturbed_blocks: int
    disturbances: dict[Disturbance, int]


def measure(pair: Pair) -> Records:
    margin = pair.terms.margins.latency_percent
    record = measure_latency(
        lambda: pair.open(pair.baseline),
        lambda: pair.open(pair.candidate),
        images=pair.feeds,
        subjects=(pair.baseline.subject, pair.candidate.subject),
        plan=pair.plan.model_copy(update={"margin_percent": margin}),
        machine=Machine(gpu_reader(pair.device)),
        progress=pair.progress,
    )
    return {"latency.json": record}


def judge(records: Records, terms: Terms) -> Check:
    """PASS equal or faster, FAIL slower, UNDECIDED otherwise or where the control is not equal.

    The interval of the quick tenth decides PASS. Median and tail fail the check where they are
    shown to be slower; where they are undecided they are reported and decide nothing, since both
    follow what else the machine does and would leave most answers open.
    """
    record: LatencyMeasurement = records["latency.json"]
    found = read_latency(record, margin_percent=terms.margins.latency_percent)
    result, headline, method = _result(found, record.plan.pairs)
    details = [method]
    if result == "UNDECIDED" and record.runners[0].device != "cpu":
        details.append("commands that fix the clocks: artoolkit benchmark BUNDLE --lock-hint")
    if found.disturbed_blocks:
        causes = ", ".join(f"{cause} {count}x" for cause, count in found.disturbances.items())
        details.append(f"{found.disturbed_blocks} of {found.blocks} blocks disturbed: {causes}")
    return Check(
        name="latency",
        result=result,
        **in_brief(headline, *details, *record.notes),
        advice=_advice(found, record) if result == "UNDECIDED" else "",
        numbers=found.model_dump(mode="json"),
    )


def read_latency(measurement: LatencyMeasurement, *, margin_percent: float) -> LatencyResult:
    """Reads the blocks; needs at least two pairs of each phase."""

    def compared(phase: Phase, name: str) -> Equivalence:
        pairs = zip(measurement.arm(phase, "A"), measurement.arm(phase, "B"), strict=True)
        value = _STATISTICS[name]
        return read_equivalence(
            [math.log(value(second) / value(first)) for first, second in pairs],
            margin_percent=margin_percent,
            statistic=name,
        )

    def typical(name: str) -> tuple[float, float]:
        before, after = (
            float(np.median([_STATISTICS[name](block) for block in measurement.arm("test", arm)]))
            for arm in get_args(Arm)
        )
        return before, after

    has_tail = measurement.inferences_a_block >= TAIL_INFERENCES
    disturbed, reasons = _disturbances(measurement)
    return LatencyResult(
        control=compared("control", "10th percentile"),
        quick=compared("test", "10th percentile"),
        median=compared("test", "median"),
        tail=compared("test", "95th percentile") if has_tail else None,
        quick_ms=typical("10th percentile"),
        median_ms=typical("median"),
        blocks=len(measurement.blocks),
        disturbed_blocks=disturbed,
        disturbances=reasons,
    )


def _usual(states: list[BlockState]) -> BlockState:
    """The state with the median CPU clock, whose GPU clock is the median of the GPU clocks."""
    ranked = sorted(states, key=lambda state: state.cpu_mhz or 0.0)
    clocks = [s.gpu["sm_clock_mhz"] for s in states if "sm_clock_mhz" in s.gpu]
    gpu = {"sm_clock_mhz": float(np.median([float(c) for c in clocks]))} if clocks else {}
    return ranked[len(ranked) // 2].model_copy(update={"gpu": gpu})


def _disturbances(measurement: LatencyMeasurement) -> tuple[int, dict[Disturbance, int]]:
    usual = _usual([block.state for block in measurement.blocks])
    found = [disturbances(block.state, usual) for block in measurement.blocks]
    kinds = Counter(kind for kinds in found for kind in kinds)
    return sum(bool(kinds) for kinds in found), dict(kinds.most_common())


def in_words(result: Equivalence) -> str:
    """`+0.1 % (-0.4 to +0.6 %)`."""
    d = result.difference_percent
    return f"{d.estimate:+.1f} % ({d.low:+.1f} to {d.high:+.1f} %)"


def _seconds_needed(record: LatencyMeasurement, wanted: list[int | None]) -> int | None:
    """Budget in which the pairs that would decide control and test fit; None if none will."""
    if None in wanted:
        return None
    measured_s = sum(sum(block.samples_ms) for block in record.blocks) / 1e3
    pairs = len(record.blocks) / 2
    # Turns that only settle, and half as many pairs again as the control plans.
    unseen = 1 + record.settling_inferences / record.inferences_a_turn
    return math.ceil(1.5 * sum(n for n in wanted if n) * measured_s / pairs * unseen / 10) * 10


def _advice(found: LatencyResult, record: LatencyMeasurement) -> str:
    """How to reach an answer here: the budget that the spread asks for, or a quieter machine."""
    parts = (found.control, found.quick)
    needed = [one.pairs_needed if one.reading == "undecided" else one.pairs for one in parts]
    seconds = _seconds_needed(record, [max(n, record.plan.pairs) if n else None for n in needed])
    quiet = "close other programs, plug in the charger, fix the clocks"
    if seconds is None or seconds > MOST_SECONDS:
        return f"to decide: {quiet}; the difference lies too near the margin for more time alone"
    seconds = max(seconds, math.ceil(1.5 * record.plan.budget_s))
    return f"to decide: --budget-s {seconds}, or --until-decided; {quiet}"


def _result(found: LatencyResult, least_pairs: int) -> tuple[Result, str, str]:
    """The answer, its headline and how it was reached."""
    control, quick, tail = found.control, found.quick, found.tail
    margin = f"margin {quick.margin_percent:g} %"
    times = f"{found.quick_ms[0]:.4g} -> {found.quick_ms[1]:.4g} ms, {in_words(quick)}, {margin}"
    median = f"median {found.median_ms[0]:.4g} -> {found.median_ms[1]:.4g} ms"
    method = (
        f"10th percentile of a block, {quick.pairs} pairs, trimmed mean with its 90 % interval; "
        f"{median}, {in_words(found.median)}"
    )
    if min(quick.pairs, control.pairs) < least_pairs:
        return (
            "UNDECIDED",
            f"machine too slow: only {control.pairs} + {quick.pairs} pairs in the budget",
            f"{least_pairs} pairs of each are needed, of the control and of the test",
        )
    if control.reading != "equal":
        return (
            "UNDECIDED",
            f"noise: {in_words(quick)}; baseline to itself {in_words(control)}",
            f"the baseline not shown equal to itself in {control.pairs} pairs, {margin}; {method}",
        )
    if quick.reading == "slower":
        return "FAIL", f"slower: {times}", method
    for part in (found.median, tail):
        if part is not None and part.reading == "slower":
            return "FAIL", f"{part.statistic} slower: {in_words(part)}, {margin}", method
    if quick.reading == "undecided":
        return "UNDECIDED", f"undecided: {times}", method
    tail_words = "" if tail is None else f"; 95th percentile {tail.reading}, {in_words(tail)}"
    return "PASS", f"{quick.reading}: {times}", f"{method}{tail_words}"


LATENCY = CheckKind(
    name="latency",
    question="Is it as fast, within a margin fixed in advance? Interleaved blocks (ABBA)",
    records={"latency.json": LatencyMeasurement},
    measure=measure,
    judge=judge,
)
