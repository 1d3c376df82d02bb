"""The accuracy check: how much, which classes, and what the export may have changed."""

from __future__ import annotations

import numpy as np
import pytest

from artoolkit.checks.accuracy import ACCURACY, TRAINED
from artoolkit.checks.kind import Terms
from artoolkit.errors import DataError
from artoolkit.evaluation.quality import ImageResult, QualityMeasurement, matrix_as_text
from artoolkit.evidence.records import header
from artoolkit.evidence.verdict import Check, Subject


def quality(
    right: int, *, images: int = 30, fingerprint: str = "f", miou: float = 0.0
) -> QualityMeasurement:
    """Two classes of 100 pixels an image, of which each network has about `right` right."""
    random = np.random.default_rng(0)
    results = []
    for index in range(images):
        hits = right + random.integers(-3, 4, 2)
        matrix = np.array([[hits[0], 100 - hits[0], 0], [100 - hits[1], hits[1], 0]])
        text = matrix_as_text(matrix)
        results.append(ImageResult(name=str(index), label_sha256="0", counts=text))
    return QualityMeasurement(
        **header(QualityMeasurement),
        subject=Subject(name="a", sha256="0"),
        predictor={},
        dataset="matrices",
        split="val",
        fingerprint=fingerprint,
        classes=("road", "car"),
        images=tuple(results),
        metrics={"mIoU": miou},
    )


def check_accuracy(
    baseline: QualityMeasurement,
    candidate: QualityMeasurement,
    trained: QualityMeasurement | None = None,
) -> Check:
    records = {"quality-baseline.json": baseline, "quality-candidate.json": candidate}
    return ACCURACY.judge(records | ({TRAINED: trained} if trained else {}), Terms())


def test_the_check_says_how_much_and_which_classes_fall() -> None:
    good, bad = quality(90), quality(50)
    assert check_accuracy(good, good).result == "PASS"
    check = check_accuracy(good, bad)
    assert check.result == "FAIL"
    assert [one["name"] for one in check.numbers["classes"] if one["falls"]] == ["road", "car"]
    assert "warning: IoU drops for road, car" in check.details
    assert check_accuracy(bad, good).numbers["reading"] == "better"


def test_an_export_that_changed_the_network_fails_although_it_is_better() -> None:
    bad, good = quality(50), quality(90)
    miou = check_accuracy(bad, good).numbers["candidate_miou"]
    near, far = (check_accuracy(bad, good, quality(90, miou=miou + off)) for off in (0.04, -0.06))
    assert (near.result, far.result) == ("PASS", "FAIL")
    assert far.numbers["trained_miou"] == pytest.approx(miou - 0.06)
    assert far.headline.startswith("the export changed mIoU")


def test_one_image_decides_nothing() -> None:
    check = check_accuracy(quality(90, images=1), quality(90, images=1))
    assert check.result == "UNDECIDED"
    assert check.numbers == {"images": 1}


def test_other_labels_are_refused() -> None:
    one, other = quality(90), quality(90, fingerprint="g")
    for pair in ((one, other), (one, one, other)):
        with pytest.raises(DataError, match="other images, labels or classes"):
            check_accuracy(*pair)
