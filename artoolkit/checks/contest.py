"""Contestants of a comparison: two bundles, or two ONNX files that artoolkit need not have made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from artoolkit.backends import backend_for
from artoolkit.backends.backend import Backend, Model, Progress, onnx_of
from artoolkit.checks.kind import Terms
from artoolkit.cost.latency_record import LatencySettings
from artoolkit.cost.opening import read_feeds, seeded_feeds, subject_of
from artoolkit.errors import BundleError
from artoolkit.evidence.bundle import Bundle, Manifest
from artoolkit.evidence.records import header
from artoolkit.evidence.verdict import PairRecord, Subject
from artoolkit.preprocess import as_taken
from artoolkit.spec import Margins
from artoolkit.words import Question

if TYPE_CHECKING:
    from artoolkit.checks.outputs import OutputsMeasurement
    from artoolkit.data import DataSet
    from artoolkit.evaluation.quality import QualityMeasurement

R = TypeVar("R", bound=PairRecord)
ROLES = ("baseline", "candidate")
# As many batches as a bundle has golden images.
BATCHES = 4


@dataclass(frozen=True)
class Contestant:
    """One side of a comparison: an open bundle, or the path of an ONNX file.

    `given` is the file that `model` is a copy of with static shapes.
    """

    model: Model
    given: Path | None = None

    @property
    def path(self) -> Path:
        """The bundle's folder, or the file."""
        return self.model.path if isinstance(self.model, Bundle) else self.model

    @property
    def onnx(self) -> Path:
        return onnx_of(self.model)

    @property
    def manifest(self) -> Manifest | None:
        return self.model.manifest if isinstance(self.model, Bundle) else None

    @property
    def trained(self) -> tuple[str, ...] | None:
        """The initialisers that are trained; None: those that convolutions and products take."""
        return self.manifest.trained if self.manifest else None

    @cached_property
    def subject(self) -> Subject:
        """Its name, and the sha256 of its manifest or file, external data included."""
        return subject_of(self.given or self.model)


@dataclass(frozen=True)
class Pair:
    """Baseline and candidate, how they are opened, and what `compare` was asked for."""

    baseline: Contestant
    candidate: Contestant
    backend: Backend
    device: str
    threads: int | None = None
    dataset: DataSet | None = None
    split: str = "val"
    plan: LatencySettings = field(default_factory=LatencySettings)
    margin_percent: float | None = None
    inputs: Path | None = None
    outputs: OutputsMeasurement | None = None
    trained: QualityMeasurement | None = None
    seed: int = 0
    process_memory: bool = True
    question: Question = "equal"
    progress: Progress = lambda what, share: None

    @classmethod
    def of(
        cls,
        baseline: Model,
        candidate: Model,
        *,
        given: tuple[Path | None, Path | None] = (None, None),
        backend: str | None = None,
        device: str | None = None,
        threads: int | None = None,
        options: Mapping[str, Any] | None = None,
        **asked: Any,
    ) -> Pair:
        """The pair on what the candidate's target says, or on `backend` with its `options`."""
        runs = backend_for(candidate, backend, **(options or {}))
        manifest = Contestant(candidate).manifest
        return cls(
            Contestant(baseline, given[0]),
            Contestant(candidate, given[1]),
            backend=runs,
            device=runs.device_for(candidate, device),
            threads=threads or (manifest.target.threads if manifest else None),
            **asked,
        )

    @property
    def sides(self) -> tuple[Contestant, Contestant]:
        return self.baseline, self.candidate

    @cached_property
    def terms(self) -> Terms:
        """Those of the candidate's manifest, with the latency margin that was asked for."""
        terms = terms_of(self.candidate.manifest, self.baseline.subject, self.candidate.subject)
        if self.margin_percent is None:
            return terms
        changed = {"latency_percent": self.margin_percent}
        return replace(terms, margins=terms.margins.model_copy(update=changed))

    @property
    def target(self) -> dict[str, Any]:
        """Target as the verdict states it, with the margins that are applied."""
        margins = {"margins": self.terms.margins.model_dump(mode="json")}
        manifest = self.candidate.manifest
        return (manifest.target.model_dump(mode="json") if manifest else {}) | margins

    def open(self, contestant: Contestant) -> Any:
        """The contestant on the pair's backend and device."""
        return self.backend.open(contestant.model, device=self.device, threads=self.threads)

    @cached_property
    def feeds(self) -> Sequence[Any]:
        """Batches for both: the candidate's golden images, or seeded or given inputs of a file."""
        if isinstance(self.candidate.model, Bundle):
            target = self.candidate.model.manifest.target
            images = as_taken(self.candidate.model.golden()["images"], target.layout)
            return np.split(images, len(images) // target.batch)
        with closing(self.open(self.baseline)) as runner:
            spec = runner.spec
        if self.inputs is not None:
            return [read_feeds(self.inputs, spec)]
        random = np.random.default_rng(self.seed)
        return [seeded_feeds(spec, random) for _ in range(BATCHES)]

    def record(self, kind: type[R], **values: Any) -> R:
        """A record of both with these values."""
        both = {"baseline": self.baseline.subject, "candidate": self.candidate.subject}
        return kind(**header(kind), **both, **values)


def terms_of(manifest: Manifest | None, baseline: Subject, candidate: Subject) -> Terms:
    """Terms of a candidate's manifest; without one, the defaults of a target."""
    if manifest is None:
        return Terms(baseline=baseline, candidate=candidate, margins=Margins())
    return Terms(
        baseline=baseline,
        candidate=candidate,
        checkpoint=manifest.provenance.get("checkpoint") or "",
        margins=manifest.target.margins,
        precision=manifest.target.precision,
        optional=manifest.target.optional,
    )


def check_same_kind(candidate: Manifest, baseline: Manifest, question: Question = "equal") -> None:
    """Raises `BundleError` where the two were made for other targets or have other classes.

    Their precision, and the form that goes with it, may differ where that is the question.
    """
    alike = ("imgsz", "labels_hw", "batch", "layout", "labels_dtype", "precision", "forms")
    for what in alike if question == "equal" else alike[:-2]:
        if getattr(candidate.target, what) != getattr(baseline.target, what):
            raise BundleError(
                f"the two bundles were made for different targets ({what})",
                got=getattr(candidate.target, what),
                expected=getattr(baseline.target, what),
                hint="Export both for one target."
                + (" Or ask --question precision." if what == "precision" else ""),
            )
    if candidate.labels.names != baseline.labels.names:
        raise BundleError("the two bundles have different classes")
