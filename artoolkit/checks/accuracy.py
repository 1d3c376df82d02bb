"""The accuracy check: mIoU is at least as good, within the margin declared before.

A pure function of two quality measurements, whose confusion matrices are paired image by image.
"""

from __future__ import annotations

from artoolkit.errors import DataError
from artoolkit.evaluation.bootstrap import NonInferiority, read_non_inferiority
from artoolkit.evaluation.quality import QualityMeasurement
from artoolkit.evidence.verdict import Check, Result


def compare_quality(
    baseline: QualityMeasurement,
    candidate: QualityMeasurement,
    *,
    margin_points: float,
    seed: int = 0,
) -> NonInferiority:
    """The mIoU difference with its interval; `DataError` if the two did not see the same labels."""
    if (baseline.fingerprint, baseline.classes) != (candidate.fingerprint, candidate.classes):
        raise DataError(
            "the two measurements are of other images, labels or classes",
            got=f"{candidate.dataset} {candidate.split} {candidate.fingerprint[:12]}",
            expected=f"{baseline.dataset} {baseline.split} {baseline.fingerprint[:12]}",
            hint="Evaluate both on the same data.",
        )
    return read_non_inferiority(
        baseline.matrices(),
        candidate.matrices(),
        names=baseline.classes,
        margin_points=margin_points,
        seed=seed,
    )


_RESULTS: dict[str, Result] = {
    "better": "PASS", "not worse": "PASS", "worse": "FAIL", "undecided": "UNDECIDED"
}  # fmt: skip


def check_accuracy(
    baseline: QualityMeasurement,
    candidate: QualityMeasurement,
    *,
    margin_points: float,
    trained_miou: float | None = None,
    exported_margin_points: float | None = None,
    required: bool = True,
    seed: int = 0,
) -> Check:
    """PASS if the candidate's mIoU is not worse by more than the margin; FAIL if it is.

    `trained_miou` (percent) is that of the candidate before export, where it was evaluated: the
    exported one must lie within `exported_margin_points` of it. UNDECIDED on a single image, which
    has no spread to judge by.
    """
    if len(baseline.images) < 2:
        few = f"{len(baseline.images)} image; an interval needs 2 at the least, and better hundreds"
        return Check(name="accuracy", result="UNDECIDED", summary=few, required=required)
    reading = compare_quality(baseline, candidate, margin_points=margin_points, seed=seed)
    d, result = reading.difference_points, _RESULTS[reading.reading]
    summary_line = (
        f"{reading.reading}: mIoU {reading.baseline_miou:.2f} -> {reading.candidate_miou:.2f} %, "
        f"{d.estimate:+.2f} points ({d.low:+.2f} to {d.high:+.2f}, 95 % interval) on "
        f"{reading.images} images, margin {margin_points:g}"
    )
    falling = [change.name for change in reading.classes if change.falls]
    if falling:
        summary_line += f"; warning: falls in {', '.join(falling)}"
    if reading.left_out:
        summary_line += (
            f"; left out (neither labelled nor predicted): {', '.join(reading.left_out)}"
        )
    numbers = reading.model_dump(mode="json")
    if trained_miou is not None and exported_margin_points is not None:
        loss = abs(reading.candidate_miou - trained_miou)
        numbers |= {"trained_miou": trained_miou, "exported_margin_points": exported_margin_points}
        summary_line += f"; {loss:.3f} points from the trained network"
        if loss > exported_margin_points:
            result = "FAIL"
            summary_line += (
                f", more than {exported_margin_points:g}: the export changed it; artoolkit compare "
                "--layers, with a bundle in fp32, names the layers"
            )
    return Check(
        name="accuracy", result=result, summary=summary_line, numbers=numbers, required=required
    )
