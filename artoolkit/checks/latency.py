"""The latency check: control, median and tail against the margin declared before."""

from __future__ import annotations

from collections import Counter

import numpy as np

from artoolkit.checks.contest import Pair
from artoolkit.checks.kind import CheckKind, Records, Terms
from artoolkit.cost.accelerator import gpu_reader
from artoolkit.cost.latency import measure_latency
from artoolkit.cost.latency_record import Block, LatencyMeasurement, Phase
from artoolkit.cost.machine import BlockState, Disturbance, Machine, disturbances
from artoolkit.evidence.verdict import Check, Result, in_brief
from artoolkit.spec import Frozen
from artoolkit.statistics import Equivalence, read_equivalence

# A 95th percentile of fewer samples is their maximum.
TAIL_INFERENCES = 20


class LatencyReading(Frozen):
    """Control, median and tail (None where a block is too short for one), in percent of A.

    `disturbed_blocks` counts blocks during which the machine did something else; `disturbances`
    says what, each with the number of blocks. All of them are part of the readings.
    """

    control: Equivalence
    median: Equivalence
    tail: Equivalence | None
    baseline_ms: float
    candidate_ms: float
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

    The interval of the median decides PASS. The tail fails the check where it is shown to be
    slower, whatever the median; where it is undecided it is reported and decides nothing, since the
    95th percentile of a block is many times noisier and would leave most answers open.
    """
    record: LatencyMeasurement = records["latency.json"]
    reading = read_latency(record, margin_percent=terms.margins.latency_percent)
    result, headline, *details = _result(reading, record.plan.pairs)
    if reading.disturbed_blocks:
        causes = ", ".join(f"{cause} {count}x" for cause, count in reading.disturbances.items())
        details.append(f"{reading.disturbed_blocks} of {reading.blocks} blocks disturbed: {causes}")
    return Check(
        name="latency",
        result=result,
        **in_brief(headline, *details, *record.notes),
        numbers=reading.model_dump(mode="json"),
    )


def read_latency(measurement: LatencyMeasurement, *, margin_percent: float) -> LatencyReading:
    """Reads the blocks; needs at least two pairs of each phase."""
    disturbed, reasons = _disturbances(measurement)
    tail = None
    if measurement.inferences_a_block >= TAIL_INFERENCES:
        ratios = _log_ratios(measurement, "test", tail=True)
        tail = read_equivalence(ratios, margin_percent=margin_percent, statistic="95th percentile")
    typical = {
        arm: float(np.median([block.median_ms for block in measurement.arm("test", arm)]))
        for arm in ("A", "B")
    }
    return LatencyReading(
        control=read_equivalence(
            _log_ratios(measurement, "control"),
            margin_percent=margin_percent,
            statistic="A/A median",
        ),
        median=read_equivalence(_log_ratios(measurement, "test"), margin_percent=margin_percent),
        tail=tail,
        baseline_ms=typical["A"],
        candidate_ms=typical["B"],
        blocks=len(measurement.blocks),
        disturbed_blocks=disturbed,
        disturbances=reasons,
    )


def _log_ratios(
    measurement: LatencyMeasurement, phase: Phase, *, tail: bool = False
) -> list[float]:
    def value(block: Block) -> float:
        return block.p95_ms if tail else block.median_ms

    pairs = zip(measurement.arm(phase, "A"), measurement.arm(phase, "B"), strict=True)
    return [float(np.log(value(second) / value(first))) for first, second in pairs]


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


def in_words(reading: Equivalence) -> str:
    """`+0.10 % (-0.40 to +0.60 %)`."""
    d = reading.difference_percent
    return f"{d.estimate:+.2f} % ({d.low:+.2f} to {d.high:+.2f} %)"


def _needed(reading: Equivalence) -> str:
    if reading.pairs_needed is None:
        return "the difference lies on the margin: more pairs will hardly decide it"
    return f"about {reading.pairs_needed} pairs would decide it"


def _result(reading: LatencyReading, least_pairs: int) -> tuple[Result, str, str]:
    """The answer, its headline and how it was reached."""
    control, median, tail = reading.control, reading.median, reading.tail
    margin = f"margin {median.margin_percent:g} %"
    pairs = f"{median.pairs} pairs, 90 % interval of the paired block medians"
    if min(median.pairs, control.pairs) < least_pairs:
        return (
            "UNDECIDED",
            f"machine too slow: only {control.pairs} + {median.pairs} pairs in the budget",
            f"{least_pairs} pairs of each are needed, of the control and of the test",
        )
    if control.reading != "equal":
        return (
            "UNDECIDED",
            f"machine too noisy: the baseline against itself {in_words(control)}",
            f"the baseline cannot be shown equal to itself over {control.pairs} pairs, {margin}",
        )
    times = f"median {reading.baseline_ms:.4g} -> {reading.candidate_ms:.4g} ms"
    times = f"{times}, {in_words(median)}, {margin}"
    if median.reading == "slower":
        return "FAIL", f"slower: {times}", pairs
    if tail is not None and tail.reading == "slower":
        return "FAIL", f"the tail is slower: 95th percentile {in_words(tail)}, {margin}", times
    if median.reading == "undecided":
        return "UNDECIDED", f"undecided: {times}", f"{pairs}; {_needed(median)}"
    tail_words = "" if tail is None else f"; 95th percentile {tail.reading}, {in_words(tail)}"
    return "PASS", f"{median.reading}: {times}", f"{pairs}{tail_words}"


LATENCY = CheckKind(
    name="latency",
    question="Is it as fast, within a margin fixed in advance? Interleaved blocks (ABBA)",
    records={"latency.json": LatencyMeasurement},
    measure=measure,
    judge=judge,
)
