"""The accuracy check: mIoU is at least as good, within the margin declared before.

Confusion matrices are paired image by image.
"""

from __future__ import annotations

import math

from artoolkit.checks.contest import ROLES, Contestant, Pair
from artoolkit.checks.kind import CheckKind, Records, Terms
from artoolkit.errors import DataError, UnavailableError
from artoolkit.evaluation.bootstrap import NonInferiority, read_non_inferiority
from artoolkit.evaluation.predictor import RunnerPredictor
from artoolkit.evaluation.quality import QualityMeasurement, measure_quality
from artoolkit.evidence.bundle import Manifest
from artoolkit.evidence.verdict import Check, Result, in_brief

TRAINED = "quality-trained.json"
# Fixed in advance like the margin: nobody chooses the resamples after the fact.
SEED = 0
# More labelled images than any street data set has for validation.
MOST_IMAGES = 20_000
_RESULTS: dict[str, Result] = {
    "better": "PASS", "not worse": "PASS", "worse": "FAIL", "undecided": "UNDECIDED"
}  # fmt: skip


def measure(pair: Pair) -> Records | None:
    """The quality of both, and that of the candidate before export where it was evaluated."""
    manifest = pair.candidate.manifest
    if manifest is None:
        return None
    if pair.dataset is None:
        raise UnavailableError("no data set was given", hint="Add --dataset NAME --data-root DIR.")
    records = {
        f"quality-{role}.json": _quality(pair, role, side, manifest)
        for role, side in zip(ROLES, pair.sides, strict=True)
    }
    trained = pair.trained
    return records if trained is None else records | {TRAINED: trained}


def _quality(pair: Pair, role: str, side: Contestant, manifest: Manifest) -> QualityMeasurement:
    assert pair.dataset is not None, "checked by measure"
    with RunnerPredictor(pair.open(side), manifest.labels) as predictor:
        return measure_quality(
            predictor,
            pair.dataset,
            pair.split,
            subject=side.subject,
            progress=lambda done, total: pair.progress(f"mIoU of the {role}", done / total),
        )


def judge(records: Records, terms: Terms) -> Check:
    """PASS if the candidate's mIoU is not worse by more than the margin; FAIL if it is.

    The exported network's mIoU must also lie within a margin of the trained one's, where that was
    evaluated. UNDECIDED on a single image, which has no spread to judge by.
    """
    baseline, candidate = (records[f"quality-{role}.json"] for role in ROLES)
    count = len(baseline.images)
    if count < 2:
        few = f"{count} image; an interval needs 2 at the least, and better hundreds"
        return Check(
            name="accuracy",
            result="UNDECIDED",
            headline=few,
            advice="to decide: evaluate at least some hundred images",
            numbers={"images": count},
        )
    reading = compare_quality(baseline, candidate, margin_points=terms.margins.accuracy_points)
    d, result = reading.difference_points, _RESULTS[reading.reading]
    mious = f"mIoU {reading.baseline_miou:.2f} -> {reading.candidate_miou:.2f} %"
    headline = (
        f"{reading.reading}: {mious}, {d.estimate:+.2f} points ({d.low:+.2f} to {d.high:+.2f}), "
        f"margin {reading.margin_points:g}"
    )
    details = [f"{count} images, 95 % interval"]
    falling = [change.name for change in reading.classes if change.falls]
    if falling:
        details.append(f"warning: IoU drops for {', '.join(falling)}")
    if reading.left_out:
        details.append(f"left out, neither labelled nor predicted: {', '.join(reading.left_out)}")
    numbers = reading.model_dump(mode="json")
    if TRAINED in records:
        _check_same_images(candidate, records[TRAINED])
        miou = records[TRAINED].metrics["mIoU"]
        allowed = terms.margins.exported_points[terms.precision]
        numbers |= {"trained_miou": miou, "exported_margin_points": allowed}
        loss = abs(reading.candidate_miou - miou)
        details.append(f"{loss:.3f} points from the trained network, {allowed:g} allowed")
        if loss > allowed:
            details = [
                headline,
                *details,
                "artoolkit compare --layers, with a bundle in fp32, names the layers",
            ]
            result, headline = "FAIL", f"the export changed mIoU by {loss:.3f} points"
    return Check(
        name="accuracy",
        result=result,
        **in_brief(headline, *details),
        advice=_advice(reading) if result == "UNDECIDED" else "",
        numbers=numbers,
    )


def _advice(reading: NonInferiority) -> str:
    """Number of images that would decide it: the interval shrinks with their square root."""
    d = reading.difference_points
    short = (d.estimate - d.low) / abs(d.estimate + reading.margin_points or 1e-9)
    images = math.ceil(reading.images * short**2)
    if images > MOST_IMAGES:
        return "the difference lies on the margin: more images will hardly decide it"
    return f"to decide: about {images} images of this kind, {reading.images} were evaluated"


def compare_quality(
    baseline: QualityMeasurement, candidate: QualityMeasurement, *, margin_points: float
) -> NonInferiority:
    """The mIoU difference with its interval; `DataError` if the two did not see the same labels."""
    _check_same_images(baseline, candidate)
    return read_non_inferiority(
        baseline.matrices(),
        candidate.matrices(),
        names=baseline.classes,
        margin_points=margin_points,
        seed=SEED,
    )


def _check_same_images(one: QualityMeasurement, other: QualityMeasurement) -> None:
    if (one.fingerprint, one.classes) != (other.fingerprint, other.classes):
        raise DataError(
            "the two measurements are of other images, labels or classes",
            got=f"{other.dataset} {other.split} {other.fingerprint[:12]}",
            expected=f"{one.dataset} {one.split} {one.fingerprint[:12]}",
            hint="Evaluate both on the same data.",
        )


ACCURACY = CheckKind(
    name="accuracy",
    question="Is mIoU at least as good, within a margin fixed in advance? Paired bootstrap",
    records={f"quality-{role}.json": QualityMeasurement for role in ROLES}
    | {TRAINED: QualityMeasurement},
    may_lack=(TRAINED,),
    portable=True,
    measure=measure,
    judge=judge,
)
