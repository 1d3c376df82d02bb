"""All checks of a candidate bundle against a baseline bundle, in order, and the verdict over them.

Nothing here needs torch. What a check needs and this machine lacks makes it UNAVAILABLE, with the
command that installs it. Raw measurements are written beside the verdict and named in it by hash.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from artoolkit.backends import backend_named, backend_names
from artoolkit.checks.accuracy import check_accuracy
from artoolkit.checks.graph_check import check_graph, check_parts
from artoolkit.checks.latency_check import check_latency
from artoolkit.checks.memory import check_memory
from artoolkit.checks.sparse import limits_of_latency
from artoolkit.checks.verify import check_golden
from artoolkit.cost.accelerator import device_identity, gpu_reader
from artoolkit.cost.latency import Progress, measure_latency
from artoolkit.cost.latency_record import LatencyPlan
from artoolkit.cost.machine import Machine
from artoolkit.cost.memory import MemoryMeasurement, process_memory
from artoolkit.errors import BackendError, BundleError, MissingLibraryError
from artoolkit.evaluation.quality import (
    QualityMeasurement,
    measure_quality,
    runner_predictor,
)
from artoolkit.evidence.bundle import Bundle
from artoolkit.evidence.records import Record, header
from artoolkit.evidence.verdict import Check, Subject, Verdict, decide
from artoolkit.spec import Target

if TYPE_CHECKING:
    from artoolkit.backends.backend import Backend, Model
    from artoolkit.backends.runner import Runner
    from artoolkit.data import DataSet

PROCESS_RUNS = 3


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to compare; None: as the target says. `dataset` and `split` are for the accuracy check.

    `margin_percent` is that of the latency; `refit` adds a diagnostic to the plan check of
    `tensorrt`. `outputs` is the parity check of an export against the
    trained network, where it was made; otherwise the golden images decide. `trained_miou`: percent,
    of the candidate before export.
    """

    backend: str | None = None
    device: str | None = None
    threads: int | None = None
    dataset: DataSet | None = None
    split: str = "val"
    plan: LatencyPlan = field(default_factory=LatencyPlan)
    margin_percent: float | None = None
    refit: bool = False
    outputs: Check | None = None
    trained_miou: float | None = None
    seed: int = 0
    process_memory: bool = True
    progress: Progress | None = None

    def latency_plan(self, margin_percent: float) -> LatencyPlan:
        """The plan with the margin that was asked for, or `margin_percent`."""
        margin = self.margin_percent or margin_percent
        return self.plan.model_copy(update={"margin_percent": margin})


@dataclass
class _Pair:
    """The two bundles, how they are opened, and the records made so far."""

    baseline: Bundle
    candidate: Bundle
    settings: Settings
    records: dict[str, Record] = field(default_factory=dict)

    @property
    def target(self) -> Target:
        return self.candidate.manifest.target

    @property
    def backend(self) -> Backend:
        options = {"refit": True} if self.settings.refit else {}
        return backend_named(self.settings.backend or self.target.backend, **options)

    @property
    def device(self) -> str:
        return self.backend.device_for(self.candidate, self.settings.device)

    @property
    def threads(self) -> int | None:
        return self.settings.threads or self.target.threads

    def open(self, bundle: Bundle) -> Runner:
        return self.backend.open(bundle, device=self.device, threads=self.threads)

    def both(self) -> tuple[tuple[str, Bundle], tuple[str, Bundle]]:
        return ("baseline", self.baseline), ("candidate", self.candidate)

    def report(self, what: str, fraction: float) -> None:
        if self.settings.progress:
            self.settings.progress(what, fraction)


def bundle_subject(bundle: Bundle) -> Subject:
    """The bundle by its folder's name and its manifest's hash."""
    return Subject(name=bundle.path.resolve().name, sha256=bundle.manifest.sha256)


def attempt(name: str, required: bool, check: Callable[[], Check]) -> Check:
    """The check's answer; UNAVAILABLE with the reason where this machine cannot give one."""
    try:
        return check()
    except (MissingLibraryError, BackendError) as error:
        return unavailable(name, str(error), required=required)


def unavailable(name: str, reason: str, *, required: bool) -> Check:
    return Check(name=name, result="UNAVAILABLE", summary=reason, required=required)


def _memory(pair: _Pair, required: bool) -> Check:
    measured = []
    for role, bundle in pair.both():
        pair.report(f"memory of the {role}", 0.0)
        source, components = pair.backend.memory(bundle, device=pair.device, threads=pair.threads)
        process = None
        if pair.settings.process_memory:
            process = process_memory(
                bundle.path,
                backend=pair.backend.name,
                device=pair.device,
                threads=pair.threads,
                runs=PROCESS_RUNS,
            )
        record = MemoryMeasurement(
            **header(MemoryMeasurement),
            subject=bundle_subject(bundle),
            source=source,
            components=components,
            process=process,
        )
        pair.records[f"memory-{role}.json"] = record
        measured.append(record)
    return check_memory(*measured, required=required)


def _latency(pair: _Pair, required: bool) -> Check:
    target = pair.target
    images = pair.candidate.golden()["images"]
    batches = np.split(images, len(images) // target.batch)
    measurement = measure_latency(
        lambda: pair.open(pair.baseline),
        lambda: pair.open(pair.candidate),
        images=batches,
        plan=pair.settings.latency_plan(target.margins.latency_percent),
        machine=Machine(gpu_reader(pair.device)),
        progress=pair.settings.progress,
        notes=(
            (limits_of_latency(pair.baseline, pair.candidate, batches),)
            if target.head == "sparse"
            else ()
        ),
    )
    pair.records["latency.json"] = measurement
    return check_latency(measurement, required=required)


def _quality(pair: _Pair, role: str, bundle: Bundle) -> QualityMeasurement:
    settings = pair.settings
    assert settings.dataset is not None, "checked by _accuracy"

    def report(done: int, total: int) -> None:
        pair.report(f"mIoU of the {role}", done / total)

    with closing(pair.open(bundle)) as runner:
        measurement = measure_quality(
            runner_predictor(runner),
            settings.dataset,
            settings.split,
            subject=bundle_subject(bundle),
            labels=bundle.manifest.labels,
            predictor=runner.spec,
            batch=bundle.manifest.target.batch,
            progress=report,
        )
    pair.records[f"quality-{role}.json"] = measurement
    return measurement


def _accuracy(pair: _Pair, required: bool) -> Check:
    if pair.settings.dataset is None:
        reason = "no data set was given: add --dataset NAME --data-root DIR"
        return unavailable("accuracy", reason, required=required)
    baseline, candidate = (_quality(pair, role, bundle) for role, bundle in pair.both())
    margins = pair.target.margins
    return check_accuracy(
        baseline,
        candidate,
        margin_points=margins.accuracy_points,
        trained_miou=pair.settings.trained_miou,
        exported_margin_points=margins.exported_points[pair.target.precision],
        required=required,
        seed=pair.settings.seed,
    )


def _outputs(pair: _Pair, required: bool) -> Check:
    if pair.settings.outputs is not None:
        return pair.settings.outputs.model_copy(update={"required": required})
    # Without an engine or a GPU there is no answer, which is not a wrong one.
    pair.open(pair.candidate).close()
    check = check_golden(
        pair.candidate,
        backend=pair.backend.name,
        device=pair.device,
        threads=pair.threads,
    )
    return check.model_copy(update={"name": "outputs", "required": required})


def _plan(pair: _Pair, required: bool) -> Check:
    pair.report("compiled programs", 0.0)
    models = (pair.baseline, pair.candidate)
    return program_check("plan", pair.backend, models, pair.settings, pair.device, required)


def program_check(
    name: str,
    backend: Backend,
    models: tuple[Model, Model],
    settings: Settings,
    device: str,
    required: bool,
) -> Check:
    """What `backend` answers to the question whether two models become one program."""
    baseline = models[0]
    found = backend.compare_programs(
        *models,
        device=device,
        trained=baseline.manifest.trained if isinstance(baseline, Bundle) else None,
        progress=settings.progress,
    )
    return Check(
        name=name,
        result=found.result,
        summary=": ".join(filter(None, (found.headline, "; ".join(found.details)))),
        numbers=found.numbers,
        required=required,
    )


def _graph(pair: _Pair, required: bool) -> Check:
    return check_graph(
        pair.baseline.model,
        pair.candidate.model,
        trained=(pair.baseline.manifest.trained, pair.candidate.manifest.trained),
        required=required,
    )


def _parts(pair: _Pair, required: bool) -> Check:
    return check_parts(
        pair.baseline.model,
        pair.candidate.model,
        trained=(pair.baseline.manifest.trained, pair.candidate.manifest.trained),
        required=required,
    )


_CHECKS: dict[str, Callable[[_Pair, bool], Check]] = {
    "graph": _graph,
    "training-only parts": _parts,
    "plan": _plan,
    "memory": _memory,
    "latency": _latency,
    "outputs": _outputs,
    "accuracy": _accuracy,
}


def _checks_for(pair: _Pair) -> Iterator[tuple[str, Callable[[_Pair, bool], Check]]]:
    """The checks in order; programs that are compiled ahead of time need no GPU and are always
    compared, wherever another backend runs."""
    for name, check in _CHECKS.items():
        yield name, check
        if name == "plan":
            yield from _ahead_of_time(pair)


def _ahead_of_time(pair: _Pair) -> Iterator[tuple[str, Callable[[_Pair, bool], Check]]]:
    for backend in map(backend_named, backend_names()):
        if backend.ahead_of_time and backend.name != pair.backend.name:
            name = f"plan ({backend.title})"

            def check(
                pair: _Pair, required: bool, name: str = name, backend: Backend = backend
            ) -> Check:
                models = (pair.baseline, pair.candidate)
                return program_check(name, backend, models, pair.settings, pair.device, required)

            yield name, check


def compare_bundles(candidate: Bundle, baseline: Bundle, settings: Settings) -> Verdict:
    """Runs every check and writes verdict and raw measurements into the candidate's evidence.

    Margins and required checks are those of the candidate's target. Raises `BundleError` where the
    two were made for other targets or have other classes, `DataError` for the data set.
    """
    verdict, records = verdict_of(candidate, baseline, settings)
    for name, record in records.items():
        candidate.add_evidence(name, record.to_bytes())
    candidate.add_evidence("verdict.json", verdict.to_bytes())
    return verdict


def verdict_of(
    candidate: Bundle, baseline: Bundle, settings: Settings
) -> tuple[Verdict, dict[str, Record]]:
    """The verdict and the raw records by file name, nothing written."""
    _same_kind(candidate, baseline)
    pair = _Pair(baseline, candidate, settings)
    checks = []
    for index, (name, check) in enumerate(_checks_for(pair)):
        pair.report(name, index / len(_CHECKS))
        required = name in pair.target.required
        checks.append(attempt(name, required, lambda c=check, r=required: c(pair, r)))  # type: ignore[misc]
    verdict = decide(
        checks,
        baseline=bundle_subject(baseline),
        candidate=bundle_subject(candidate),
        target=pair.target.model_dump(mode="json"),
        measurements={name: record.sha256() for name, record in pair.records.items()},
        seed=settings.seed,
        device=device_identity(pair.device),
    )
    return verdict, pair.records


def _same_kind(candidate: Bundle, baseline: Bundle) -> None:
    one, other = candidate.manifest, baseline.manifest
    for what in ("imgsz", "labels_hw", "batch", "precision"):
        if getattr(one.target, what) != getattr(other.target, what):
            raise BundleError(
                f"the two bundles were made for different targets ({what})",
                got=getattr(one.target, what),
                expected=getattr(other.target, what),
                hint="Export both for one target.",
            )
    if one.labels.names != other.labels.names:
        raise BundleError("the two bundles have different classes")
