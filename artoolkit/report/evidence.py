"""A bundle's evidence as a part of the report: verdict, readings, pictures.

Readings are made again from the raw measurements, never copied from the verdict.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from artoolkit.checks.accuracy import compare_quality
from artoolkit.checks.compare import VERDICT
from artoolkit.checks.contest import ROLES
from artoolkit.checks.latency import read_latency
from artoolkit.checks.recheck import check_evidence
from artoolkit.checks.registry import CHECKS
from artoolkit.cost.latency_record import LatencyMeasurement
from artoolkit.cost.memory import MemoryMeasurement
from artoolkit.errors import BackendError, BundleError, ExportError, MissingLibraryError
from artoolkit.evaluation.quality import QualityMeasurement
from artoolkit.evidence.bundle import Bundle, open_bundle
from artoolkit.evidence.engines import engine_files
from artoolkit.evidence.records import Record, read_record
from artoolkit.evidence.seal import file_sha256
from artoolkit.evidence.verdict import Verdict
from artoolkit.files import faults_of
from artoolkit.report.content import (
    AffinityRow,
    BundlePart,
    Histogram,
    LatencyPart,
    MemoryPart,
    SampleRow,
)
from artoolkit.report.samples import affinity_rows, sample_rows

if TYPE_CHECKING:
    from artoolkit.data import DataSet

R = TypeVar("R", bound=Record)
MOST_BINS = 60


def _optional(bundle: Bundle, name: str, record: type[R]) -> R | None:
    """The record of this name behind the newest verdict; None where that rests on none.

    An answer that was kept has its measurements in the proof that it names. What an older verdict
    alone rests on may be of another machine.
    """
    if not bundle.proofs:
        return None
    folder = bundle.proofs[0]
    if name != VERDICT:
        asked = {kind.name for kind in CHECKS if name in kind.records}
        rows = read_record(folder / VERDICT, Verdict).checks
        origins = [check.origin for check in rows if check.name in asked and check.origin]
        folder = {one.name: one for one in bundle.proofs}.get("".join(origins), folder)
    return read_record(folder / name, record) if (folder / name).is_file() else None


def _earlier_verdicts(bundle: Bundle) -> Iterator[str]:
    """The older verdicts, of this machine or others, in a line each."""
    for folder in bundle.proofs[1:]:
        with suppress(BundleError):  # which `check_evidence` names
            verdict = read_record(folder / VERDICT, Verdict)
            answers = ", ".join(f"{check.name} {check.result}" for check in verdict.checks)
            yield f"Earlier verdict {folder.name}: {verdict.result} ({answers})"


def histogram(before: NDArray[np.float64], after: NDArray[np.float64]) -> Histogram:
    """Both arms between their fastest inference and the 99th percentile; the rest is counted."""
    both = np.concatenate([before, after])
    low, high = float(both.min()), float(np.percentile(both, 99))
    bins = int(min(MOST_BINS, max(8, 2 * len(both) ** 0.5)))
    edges = np.linspace(low, max(high, low * 1.001), bins + 1)
    return Histogram(
        edges_ms=tuple(round(float(edge), 5) for edge in edges),
        baseline=tuple(int(n) for n in np.histogram(before, edges)[0]),
        candidate=tuple(int(n) for n in np.histogram(after, edges)[0]),
        beyond=(int((before > edges[-1]).sum()), int((after > edges[-1]).sum())),
    )


def latency_part(record: LatencyMeasurement, *, margin_percent: float) -> LatencyPart:
    """Block medians and inferences of the test proper, and their reading."""
    samples = [
        np.concatenate([block.samples_ms for block in record.arm("test", arm)])
        for arm in ("A", "B")
    ]  # fmt: skip
    medians = {
        arm: tuple(block.median_ms for block in record.arm("test", arm)) for arm in ("A", "B")
    }
    return LatencyPart(
        baseline_ms=medians["A"],
        candidate_ms=medians["B"],
        inferences=histogram(*samples),
        reading=read_latency(record, margin_percent=margin_percent),
        includes=record.includes,
        notes=record.notes,
    )


def _memory(bundle: Bundle) -> MemoryPart | None:
    pair = [_optional(bundle, f"memory-{role}.json", MemoryMeasurement) for role in ROLES]
    if pair[0] is None or pair[1] is None:
        return None
    before, after = (record.components.model_dump() for record in pair if record is not None)
    return MemoryPart(
        source=pair[1].source,
        components={name: (before[name], after[name]) for name in before},
        processes=(pair[0].process.peak_bytes, pair[1].process.peak_bytes)
        if pair[0].process and pair[1].process
        else None,
    )


def _accuracy(bundle: Bundle) -> dict[str, Any]:
    """The reading, and which data it is of; nothing where none was measured."""
    pair = [_optional(bundle, f"quality-{role}.json", QualityMeasurement) for role in ROLES]
    if pair[0] is None or pair[1] is None:
        return {"accuracy": None, "dataset": None}
    margin = bundle.manifest.target.margins.accuracy_points
    images = len(pair[1].images)
    return {
        # One image has no spread to judge by.
        "accuracy": compare_quality(pair[0], pair[1], margin_points=margin) if images > 1 else None,
        "dataset": f"{pair[1].dataset} {pair[1].split}, {images} images",
        "fingerprint": pair[1].fingerprint,
    }


def bundle_part(
    path: Path, *, dataset: DataSet | None = None, split: str = "val", images: int = 3
) -> BundlePart:
    """The bundle at `path` with its evidence, and pictures of `images` images.

    With a data set the pictures have ground truth and the affinity maps of Figure 4; without, they
    are the golden images. What this machine cannot run is left out, with a note. Raises
    `BundleError` for a bundle or evidence that was changed.
    """
    bundle = open_bundle(path)
    verdict = _optional(bundle, VERDICT, Verdict)
    margin = bundle.manifest.target.margins.latency_percent
    latency = _optional(bundle, "latency.json", LatencyMeasurement)
    notes: list[str] = []
    if verdict is None:
        notes.append("No verdict yet: artoolkit compare BASELINE CANDIDATE gives one.")
    else:
        notes += [
            f"{check.name} does not follow: {'; '.join(check.numbers['problems'])}"
            for check in check_evidence(bundle)
            if check.result == "FAIL"
        ]
        notes += _earlier_verdicts(bundle)
    samples: tuple[SampleRow, ...] = ()
    affinity: tuple[AffinityRow, ...] = ()
    if bundle.baseline is not None:
        try:
            samples = sample_rows(bundle, bundle.baseline, dataset, split, images)
            if dataset is not None:
                affinity = affinity_rows(bundle, bundle.baseline, dataset, split, 1)
        except (MissingLibraryError, BackendError, ExportError) as error:
            notes.append(f"Pictures are left out: {error}")
    with faults_of(f"evidence in {bundle.evidence}", BundleError):
        measured = {
            "latency": latency_part(latency, margin_percent=margin) if latency else None,
            "memory": _memory(bundle),
            **_accuracy(bundle),
        }
    return BundlePart(
        name=path.resolve().name,
        manifest=bundle.manifest.model_dump(mode="json"),
        verdict=verdict,
        engines={plan.name: file_sha256(plan) for plan in engine_files(bundle)},
        samples=samples,
        affinity=affinity,
        notes=tuple(notes),
        **measured,
    )
