"""What a latency measurement says: control, median and tail against the margin declared before.

A pure function of the record, so that the report, `verify` and the calibration read it alike.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from artoolkit.cost.latency_record import Block, LatencyMeasurement, Phase
from artoolkit.cost.machine import BlockState, disturbances
from artoolkit.evidence.verdict import Check, Result
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
    disturbances: dict[str, int]


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


def _disturbances(measurement: LatencyMeasurement) -> tuple[int, dict[str, int]]:
    usual = _usual([block.state for block in measurement.blocks])
    found = [disturbances(block.state, usual) for block in measurement.blocks]
    kinds = Counter(_kind(reason) for reasons in found for reason in reasons)
    return sum(bool(reasons) for reasons in found), dict(kinds.most_common())


def _kind(reason: str) -> str:
    """The reason without its number, so that equal causes count together."""
    for end in (" used ", " took ", " clock ", ": "):
        reason = reason.split(end)[0] + (" clock" if end == " clock " and end in reason else "")
    return reason


def read_latency(measurement: LatencyMeasurement) -> LatencyReading:
    """Reads the blocks; needs at least two pairs of each phase."""
    margin = measurement.plan.margin_percent
    disturbed, reasons = _disturbances(measurement)
    tail = None
    if measurement.inferences_a_block >= TAIL_INFERENCES:
        ratios = _log_ratios(measurement, "test", tail=True)
        tail = read_equivalence(ratios, margin_percent=margin, statistic="95th percentile")
    typical = {
        arm: float(np.median([block.median_ms for block in measurement.arm("test", arm)]))
        for arm in ("A", "B")
    }
    return LatencyReading(
        control=read_equivalence(
            _log_ratios(measurement, "control"), margin_percent=margin, statistic="A/A median"
        ),
        median=read_equivalence(_log_ratios(measurement, "test"), margin_percent=margin),
        tail=tail,
        baseline_ms=typical["A"],
        candidate_ms=typical["B"],
        blocks=len(measurement.blocks),
        disturbed_blocks=disturbed,
        disturbances=reasons,
    )


def in_words(reading: Equivalence) -> str:
    """`+0.10 % (-0.40 to +0.60 %, 90 % interval)`."""
    d = reading.difference_percent
    return f"{d.estimate:+.2f} % ({d.low:+.2f} to {d.high:+.2f} %, 90 % interval)"


def _needed(reading: Equivalence) -> str:
    if reading.pairs_needed is None:
        return "the difference lies on the margin, more pairs will hardly decide it"
    return f"about {reading.pairs_needed} pairs would decide it"


def _result(reading: LatencyReading, least_pairs: int) -> tuple[Result, str]:
    median, tail, margin = reading.median, reading.tail, reading.median.margin_percent
    if min(median.pairs, reading.control.pairs) < least_pairs:
        return "UNDECIDED", (
            f"machine too slow: {reading.control.pairs} pairs of the control and {median.pairs} of "
            f"the test fitted into the budget, {least_pairs} of each are needed"
        )
    if reading.control.reading != "equal":
        return "UNDECIDED", (
            "machine too noisy: the baseline cannot be shown equal to itself within "
            f"{margin:g} %: {in_words(reading.control)} over {reading.control.pairs} pairs"
        )
    times = f"median {reading.baseline_ms:.3f} -> {reading.candidate_ms:.3f} ms, {in_words(median)}"
    if median.reading == "slower":
        return "FAIL", f"slower: {times} lies beyond the margin of {margin:g} %"
    if tail is not None and tail.reading == "slower":
        return "FAIL", f"the tail is slower: 95th percentile {in_words(tail)}; {times}"
    if median.reading == "undecided":
        return "UNDECIDED", f"{times}, margin {margin:g} %, {median.pairs} pairs; {_needed(median)}"
    tail_words = "" if tail is None else f"; 95th percentile {tail.reading}, {in_words(tail)}"
    return "PASS", f"{median.reading}: {times}, margin {margin:g} %{tail_words}"


def check_latency(measurement: LatencyMeasurement, *, required: bool = True) -> Check:
    """PASS equal or faster, FAIL slower, UNDECIDED otherwise or where the control is not equal.

    The interval of the median decides PASS. The tail fails the check where it is shown to be
    slower, whatever the median; where it is undecided it is reported and decides nothing, since the
    95th percentile of a block is many times noisier and would leave most answers open.
    """
    reading = read_latency(measurement)
    result, summary = _result(reading, measurement.plan.pairs)
    if reading.disturbed_blocks:
        causes = ", ".join(f"{cause} {count}x" for cause, count in reading.disturbances.items())
        summary += f"; {reading.disturbed_blocks} of {reading.blocks} blocks disturbed ({causes})"
    summary = "; ".join([summary, *measurement.notes])
    return Check(
        name="latency",
        result=result,
        summary=summary,
        numbers=reading.model_dump(mode="json"),
        required=required,
    )
