"""Records of a latency measurement: its settings, the blocks, the result."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from artoolkit.cost.machine import BlockState
from artoolkit.evidence.verdict import PairRecord
from artoolkit.spec import Frozen, RunnerSpec
from artoolkit.statistics import percentile

Phase = Literal["control", "test"]
Arm = Literal["A", "B"]

INCLUDES = (
    "host to host: from uint8 images in host memory to label maps in host memory, transfers "
    "included; decoding and resizing of images not included"
)


# What `--until-decided` allows. How many pairs the test has is fixed by the control's spread before
# it begins, never by its own answer; a machine that needs more time is too noisy to measure on.
MOST_SECONDS = 600.0

# Other programs and the other thread of a core make an inference slower, never quicker, and on two
# threads its times fall into two heaps. The quick tenth is the network's own time; a lower
# percentile of the 20 inferences of a block would be a single one.
QUICK = 10


class LatencySettings(Frozen):
    """Settings, declared before measuring. Times in seconds, those with `ms` in milliseconds.

    `budget_s` bounds the blocks of control and test together; opening and warming up come on top.
    `inferences` a block and `pairs` are least numbers: a faster network gets more inferences (a
    block of at least `block_ms`), a slower one fewer, so that the budget holds, and the record
    says so. A turn within a pair of blocks is as many inferences as fill `turn_ms`, at least one.
    """

    margin_percent: float = Field(default=2.0, gt=0)
    pairs: int = Field(default=20, ge=2)
    inferences: int = Field(default=20, ge=1)
    block_ms: float = Field(default=50.0, ge=0)
    turn_ms: float = Field(default=10.0, ge=0)
    warmup_ms: float = Field(default=200.0, ge=0)
    budget_s: float = Field(default=45.0, gt=0)
    soak_s: float = Field(default=0.0, ge=0)
    power: float = Field(default=0.95, gt=0.5, lt=1)


class Block(Frozen):
    """Inferences of one runner in a pair; `samples_ms` are all of them, in order, unclipped.

    `state` is the machine's during the pair: its two blocks take turns.
    """

    phase: Phase
    pair: int
    arm: Arm
    samples_ms: tuple[float, ...]
    state: BlockState

    @property
    def quick_ms(self) -> float:
        return percentile(self.samples_ms, QUICK)

    @property
    def median_ms(self) -> float:
        return percentile(self.samples_ms, 50)

    @property
    def p95_ms(self) -> float:
        return percentile(self.samples_ms, 95)


class LatencyMeasurement(PairRecord):
    """All blocks of one comparison; `runners` say how baseline and candidate were open."""

    KIND: ClassVar[str] = "latency"
    VERSION: ClassVar[str] = "3"

    plan: LatencySettings
    includes: str
    runners: tuple[RunnerSpec, RunnerSpec]
    images: int
    inferences_a_block: int
    inferences_a_turn: int
    settling_inferences: int
    planned_pairs: int
    blocks: tuple[Block, ...]
    other_programs: dict[str, float]
    notes: tuple[str, ...]

    def arm(self, phase: Phase, arm: Arm) -> list[Block]:
        """The blocks of one arm in the order of their pairs."""
        chosen = [b for b in self.blocks if b.phase == phase and b.arm == arm]
        return sorted(chosen, key=lambda block: block.pair)
