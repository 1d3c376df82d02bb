"""Content of a report, as JSON: the source that the page, the markdown and `--json` are made from.

Read next: `evidence.py` and `curves.py`, which fill it from bundles and runs, and `page.py`.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import AfterValidator, Field, model_validator

from artoolkit.checks.latency import LatencyResult
from artoolkit.evaluation.bootstrap import NonInferiority
from artoolkit.evidence.records import Record
from artoolkit.evidence.verdict import Verdict
from artoolkit.report.ar_curve import Trend
from artoolkit.spec import Frozen

Item = TypeVar("Item")

# Sealed JSON sorts its keys; the page shows things in the order in which one looks at them.
_ORDER = (
    "image", "ground truth", "labels", "baseline", "candidate", "where they differ",
    "program_bytes", "weights_bytes", "activations_bytes", "io_bytes",
    "cross_entropy", "affinity_regression", "mIoU",
)  # fmt: skip


def in_order(named: dict[str, Item]) -> dict[str, Item]:
    """`named` in the page's order; what has no place in it follows by name."""
    places = {name: place for place, name in enumerate(_ORDER)}
    keys = sorted(named, key=lambda name: (places.get(name, len(places)), name))
    return {key: named[key] for key in keys}


class PageImage(Frozen):
    """An image as a data URI, with the words for those who do not see it."""

    # Nothing else: a page that somebody's JSON fills must not ask the network for a picture.
    uri: str = Field(pattern=r"^data:image/(png|jpeg);base64,[A-Za-z0-9+/=]*$")
    alt: str


class ClassShare(Frozen):
    """One class in one image, in percent of the pixels; `truth` is None without ground truth."""

    name: str
    truth: float | None
    baseline: float
    candidate: float


class SampleRow(Frozen):
    """One image as everybody sees it, and what is in its pictures as numbers.

    `differ` marks where baseline and candidate disagree. `right_percent`: labelled pixels that
    baseline and candidate have right.
    """

    name: str
    pictures: Annotated[dict[str, PageImage], AfterValidator(in_order)]
    agreement_percent: float
    right_percent: tuple[float, float] | None = None
    classes: tuple[ClassShare, ...] = ()


class AffinityRow(Frozen):
    """Figure 4 for one image, red 1 to blue 0; `losses` is the mean squared error to the labels.

    `same` and `other`: mean affinity over pairs of points of one class, and of two classes.
    """

    name: str
    maps: Annotated[dict[str, PageImage], AfterValidator(in_order)]
    losses: Annotated[dict[str, float], AfterValidator(in_order)]
    same: Annotated[dict[str, float], AfterValidator(in_order)]
    other: Annotated[dict[str, float], AfterValidator(in_order)]


class Histogram(Frozen):
    """Inferences by latency: counts between neighbouring `edges_ms`, and those beyond the last."""

    edges_ms: tuple[float, ...]
    baseline: tuple[int, ...]
    candidate: tuple[int, ...]
    beyond: tuple[int, int]


class LatencyPart(Frozen):
    """Block medians in ms in the order they were taken, every inference, and how they read."""

    baseline_ms: tuple[float, ...]
    candidate_ms: tuple[float, ...]
    inferences: Histogram
    reading: LatencyResult
    includes: str
    notes: tuple[str, ...]


class MemoryPart(Frozen):
    """Bytes by component: (baseline, candidate); `processes`: peaks of fresh processes of each."""

    source: str
    components: Annotated[dict[str, tuple[int, int]], AfterValidator(in_order)]
    processes: tuple[tuple[int, ...], tuple[int, ...]] | None = None


class BundlePart(Frozen):
    """The evidence of one bundle; None where it holds none.

    `fingerprint` is the sha256 of the data that accuracy was judged on, `engines` the sha256 of
    each plan in the bundle.
    """

    name: str
    manifest: dict[str, Any]
    verdict: Verdict | None
    latency: LatencyPart | None
    memory: MemoryPart | None
    accuracy: NonInferiority | None
    dataset: str | None
    fingerprint: str | None = None
    engines: dict[str, str] = Field(default_factory=dict)
    samples: tuple[SampleRow, ...] = ()
    affinity: tuple[AffinityRow, ...] = ()
    notes: tuple[str, ...] = ()


class Curve(Frozen):
    """One quantity over the iterations, thinned and smoothed for drawing."""

    iterations: tuple[float, ...] = Field(min_length=1)
    values: tuple[float, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _is_paired(self) -> Curve:
        if len(self.iterations) != len(self.values):
            raise ValueError("a curve has as many iterations as values")
        return self


class RunPart(Frozen):
    """One training run: its curves by name, its last mIoU in percent, the trend of the AR loss."""

    name: str
    start: dict[str, Any]
    curves: Annotated[dict[str, Curve], AfterValidator(in_order)]
    last_miou: float | None
    trend: Trend | None
    recipe: str


class ReportContent(Record):
    """Everything on the page."""

    KIND: ClassVar[str] = "report"
    VERSION: ClassVar[str] = "2"

    bundles: tuple[BundlePart, ...]
    runs: tuple[RunPart, ...]
