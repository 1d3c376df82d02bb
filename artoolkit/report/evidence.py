"""A bundle's evidence as a part of the report: verdict, readings, pictures.

Readings are made again from the raw measurements, never copied from the verdict.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from artoolkit.bundle import Bundle, open_bundle
from artoolkit.errors import BackendError, ExportError, MissingLibraryError
from artoolkit.measure.bootstrap import NonInferiority
from artoolkit.measure.latency import LatencyMeasurement
from artoolkit.measure.latency_check import read_latency
from artoolkit.measure.memory import MemoryMeasurement
from artoolkit.measure.quality import QualityMeasurement, compare_quality
from artoolkit.measure.records import Record, read_record
from artoolkit.measure.verdict import Verdict
from artoolkit.report.content import AffinityRow, BundlePart, LatencyPart, MemoryPart, SampleRow
from artoolkit.report.samples import affinity_rows, sample_rows

if TYPE_CHECKING:
    from artoolkit.data import DataSet

R = TypeVar("R", bound=Record)


def _optional(bundle: Bundle, name: str, record: type[R]) -> R | None:
    path = bundle.evidence / name
    return read_record(path, record) if path.is_file() else None


def latency_part(record: LatencyMeasurement) -> LatencyPart:
    """Block medians of the test proper and their reading."""
    medians = {
        arm: tuple(block.median_ms for block in record.arm("test", arm)) for arm in ("A", "B")
    }
    return LatencyPart(
        baseline_ms=medians["A"],
        candidate_ms=medians["B"],
        reading=read_latency(record),
        includes=record.includes,
        notes=record.notes,
    )


def _memory(bundle: Bundle) -> MemoryPart | None:
    pair = [
        _optional(bundle, f"memory-{role}.json", MemoryMeasurement)
        for role in ("baseline", "candidate")
    ]
    if pair[0] is None or pair[1] is None:
        return None
    before, after = (record.components.model_dump() for record in pair if record is not None)
    return MemoryPart(
        source=pair[1].source, components={name: (before[name], after[name]) for name in before}
    )


def _accuracy(bundle: Bundle, verdict: Verdict | None) -> tuple[NonInferiority | None, str | None]:
    pair = [
        _optional(bundle, f"quality-{role}.json", QualityMeasurement)
        for role in ("baseline", "candidate")
    ]
    if pair[0] is None or pair[1] is None:
        return None, None
    margin = bundle.manifest.target.margins.accuracy_points
    seed = verdict.seed if verdict else 0
    words = f"{pair[1].dataset} {pair[1].split}, {len(pair[1].images)} images"
    return compare_quality(pair[0], pair[1], margin_points=margin, seed=seed), words


def bundle_part(
    path: Path, *, dataset: DataSet | None = None, split: str = "val", images: int = 3
) -> BundlePart:
    """The bundle at `path` with its evidence, and pictures of `images` images.

    With a data set the pictures have ground truth and the affinity maps of Figure 4; without, they
    are the golden images. What this machine cannot run is left out, with a note. Raises
    `BundleError` for a bundle or evidence that was changed.
    """
    bundle = open_bundle(path)
    verdict = _optional(bundle, "verdict.json", Verdict)
    latency = _optional(bundle, "latency.json", LatencyMeasurement)
    accuracy, words = _accuracy(bundle, verdict)
    notes: list[str] = []
    if verdict is None:
        notes.append("No verdict yet: artoolkit compare BASELINE CANDIDATE gives one.")
    samples: tuple[SampleRow, ...] = ()
    affinity: tuple[AffinityRow, ...] = ()
    if bundle.baseline is not None:
        try:
            samples = sample_rows(bundle, bundle.baseline, dataset, split, images)
            if dataset is not None:
                affinity = affinity_rows(bundle, bundle.baseline, dataset, split, 1)
        except (MissingLibraryError, BackendError, ExportError) as error:
            notes.append(f"Pictures are left out: {error}")
    return BundlePart(
        name=path.resolve().name,
        manifest=bundle.manifest.model_dump(mode="json"),
        verdict=verdict,
        latency=latency_part(latency) if latency else None,
        memory=_memory(bundle),
        accuracy=accuracy,
        dataset=words,
        samples=samples,
        affinity=affinity,
        notes=tuple(notes),
    )
