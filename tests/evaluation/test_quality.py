"""mIoU over a small data set in memory, the fingerprint, and the accuracy check."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from by_function import ByFunction
from numpy.typing import NDArray

from artoolkit.data import Sample
from artoolkit.errors import DataError
from artoolkit.evaluation.quality import (
    QualityMeasurement,
    matrix_as_text,
    matrix_from_text,
    measure_quality,
)
from artoolkit.evidence.records import read_record
from artoolkit.evidence.verdict import Subject
from artoolkit.labels import LabelTable

Pixels = NDArray[np.uint8]
TABLE = LabelTable(
    name="two", names=("road", "car"), colors=((0, 0, 0), (1, 1, 1)), file_ids=(0, 1)
)


class InMemory:
    """Images whose red channel is the label, 8 x 12 pixels, every fifth pixel void."""

    name, root, labels = "memory", Path(), TABLE

    def __init__(self, images: int = 5, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.truth = [self._labels() for _ in range(images)]

    def _labels(self) -> Pixels:
        labels = self.random.integers(0, 2, (8, 12)).astype(np.uint8)
        labels.ravel()[::5] = 255
        return labels

    def splits(self) -> tuple[str, ...]:
        return ("val",)

    def samples(self, split: str) -> tuple[Sample, ...]:
        return tuple(Sample(f"{i:03}", Path(), Path()) for i in range(len(self.truth)))

    def read_image(self, sample: Sample) -> Pixels:
        return np.repeat(self.read_label(sample)[..., None] % 2, 3, axis=2)

    def read_label(self, sample: Sample) -> Pixels:
        return self.truth[int(sample.name)]

    def prediction_name(self, sample: Sample) -> str:
        return f"{sample.name}.png"


def perfect(images: Sequence[Pixels]) -> list[Pixels]:
    return [image[..., 0] for image in images]


def upside_down(images: Sequence[Pixels]) -> list[Pixels]:
    return [image[::-1, :, 0] for image in images]


SUBJECT = Subject(name="n", sha256="0")


def measure(
    predict: Callable[[Sequence[Pixels]], list[Pixels]] = perfect,
    data: InMemory | None = None,
    *,
    batch: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> QualityMeasurement:
    predictor = ByFunction(predict, TABLE, batch=batch)
    return measure_quality(predictor, data or InMemory(), "val", subject=SUBJECT, progress=progress)


def test_a_perfect_prediction_scores_hundred_and_void_counts_nowhere() -> None:
    record = measure()
    assert record.metrics == {"mIoU": 100, "aAcc": 100, "IoU.road": 100, "IoU.car": 100}
    assert record.matrices().sum() == sum((t != 255).sum() for t in InMemory().truth)
    assert [image.name for image in record.images] == ["000", "001", "002", "003", "004"]


@pytest.mark.parametrize("batch", [1, 2, 5, 7])
def test_batches_change_nothing(batch: int) -> None:
    assert measure(upside_down, batch=batch).images == measure(upside_down).images


def test_a_record_keeps_every_matrix(tmp_path: Path) -> None:
    record = measure(upside_down)
    (tmp_path / "q.json").write_bytes(record.to_bytes())
    again = read_record(tmp_path / "q.json", QualityMeasurement)
    assert np.array_equal(again.matrices(), record.matrices())


def test_sparse_text_is_the_matrix() -> None:
    matrix = np.array([[5, 0, 1], [0, 70000000000, 0]])
    assert matrix_as_text(matrix) == "0:5 2:1 4:70000000000"
    assert np.array_equal(matrix_from_text(matrix_as_text(matrix), 2), matrix)
    assert not matrix_from_text("", 2).any()


def test_the_fingerprint_is_of_names_and_labels_not_of_predictions() -> None:
    assert measure().fingerprint == measure(upside_down).fingerprint
    changed = InMemory()
    changed.truth[3] = changed.truth[3].copy()
    changed.truth[3][1, 1] ^= 1
    assert measure(data=changed).fingerprint != measure().fingerprint


def test_progress_counts_images() -> None:
    heard: list[tuple[int, int]] = []
    measure(batch=2, progress=lambda done, total: heard.append((done, total)))
    assert heard == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]


def test_other_classes_and_no_label_are_refused() -> None:
    other = TABLE.model_copy(update={"names": ("car", "road")})
    with pytest.raises(DataError, match="have different classes; got car, road; expected road"):
        measure_quality(ByFunction(perfect, other), InMemory(), "val", subject=SUBJECT)
    empty = InMemory()
    empty.truth = [np.full((8, 12), 255, np.uint8)]
    with pytest.raises(DataError, match="no pixel of split val is labelled"):
        measure(data=empty)
