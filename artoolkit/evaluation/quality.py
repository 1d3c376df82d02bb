"""mIoU of anything that predicts labels, on a data set, with one confusion matrix per image.

Evaluation is at the label's size: images are brought to the network's input size, labels back to
the image's, by `artoolkit.preprocess` alone. The matrices are kept, so that two measurements can be
compared image by image (`artoolkit.evaluation.bootstrap`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from artoolkit.data.overlap import read_ahead
from artoolkit.errors import DataError
from artoolkit.evidence.records import Record, header
from artoolkit.evidence.verdict import Subject
from artoolkit.labels import LabelTable
from artoolkit.metrics import Matrix, confusion_matrix, summary
from artoolkit.preprocess import fit_image, fit_labels
from artoolkit.spec import Frozen, RunnerSpec

if TYPE_CHECKING:
    from artoolkit.backends.runner import Runner
    from artoolkit.data import DataSet, Sample

Pixels = NDArray[np.uint8]
# uint8 RGB images H x W x 3 of any sizes -> one uint8 train-id map of each image's size.
Predictor = Callable[[Sequence[Pixels]], Sequence[Pixels]]


class ImageResult(Frozen):
    """One image: its name, the sha256 of its decoded label map, and its confusion matrix.

    `counts` holds the cells that are not 0 as `index:count`, by index in the C x (C + 1) matrix.
    """

    name: str
    label_sha256: str
    counts: str


class QualityMeasurement(Record):
    """How well something predicts the labels of a split; `metrics` are in percent.

    `fingerprint` is the sha256 over the names and label hashes of all images: two measurements
    can be compared only where it is the same.
    """

    KIND: ClassVar[str] = "quality"

    subject: Subject
    predictor: dict[str, Any]
    dataset: str
    split: str
    fingerprint: str
    classes: tuple[str, ...]
    images: tuple[ImageResult, ...]
    metrics: dict[str, float | None]

    @property
    def subjects(self) -> tuple[Subject, ...]:
        return (self.subject,)

    def matrices(self) -> NDArray[np.int64]:
        """int64 N x C x (C + 1) counts in the order of `images`."""
        size = len(self.classes)
        return np.stack([matrix_from_text(image.counts, size) for image in self.images])


def matrix_as_text(matrix: Matrix) -> str:
    """`index:count` of every cell that is not 0, separated by spaces."""
    flat = matrix.ravel()
    return " ".join(f"{index}:{flat[index]}" for index in np.flatnonzero(flat))


def matrix_from_text(text: str, num_classes: int) -> Matrix:
    """The C x (C + 1) matrix that `matrix_as_text` wrote."""
    matrix = np.zeros(num_classes * (num_classes + 1), np.int64)
    for cell in text.split():
        index, _, count = cell.partition(":")
        matrix[int(index)] = int(count)
    return matrix.reshape(num_classes, num_classes + 1)


def runner_predictor(runner: Runner) -> Predictor:
    """Predicts with an open runner, in batches of its static size; short ones are filled up."""
    batch, height, width, _ = runner.spec.inputs[0].shape

    def predict(images: Sequence[Pixels]) -> list[Pixels]:
        labels: list[Pixels] = []
        for start in range(0, len(images), batch):
            part = images[start : start + batch]
            fitted = [fit_image(image, (height, width)) for image in part]
            fitted += fitted[-1:] * (batch - len(part))
            predicted = runner.infer(np.stack(fitted))["labels"]
            labels += [
                fit_labels(one, (image.shape[0], image.shape[1]))
                for one, image in zip(predicted, part, strict=False)
            ]
        return labels

    return predict


@dataclass(frozen=True)
class _Decoded:
    """One image with its label map and that map's sha256, as the reading thread hands them over."""

    image: Pixels
    label: Pixels
    label_sha256: str


def _decode(dataset: DataSet, sample: Sample) -> _Decoded:
    image, label = dataset.read_image(sample), dataset.read_label(sample)
    return _Decoded(image, label, label_sha256(label))


def label_sha256(label: Pixels) -> str:
    """Hexadecimal sha256 of a uint8 H x W label map: its shape, then its bytes."""
    digest = hashlib.sha256(repr(label.shape).encode())
    digest.update(np.ascontiguousarray(label).data)
    return digest.hexdigest()


def measure_quality(
    predict: Predictor,
    dataset: DataSet,
    split: str,
    *,
    subject: Subject,
    labels: LabelTable,
    predictor: RunnerSpec | dict[str, Any],
    batch: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> QualityMeasurement:
    """Predicts every image of a split and counts; `progress` gets images done and in all.

    `labels` is the table that the network was trained with; `DataError` if the data set's classes
    are others, or if no pixel of the split is labelled.
    """
    if labels.names != dataset.labels.names:
        raise DataError(
            f"the network and {dataset.name} have different classes",
            got=", ".join(labels.names),
            expected=", ".join(dataset.labels.names),
        )
    samples = dataset.samples(split)
    results: list[ImageResult] = []
    ahead = read_ahead(partial(_decode, dataset), samples)
    while group := list(islice(ahead, batch)):
        predictions = predict([decoded.image for _, decoded in group])
        for (sample, decoded), predicted in zip(group, predictions, strict=True):
            counts = confusion_matrix(predicted, decoded.label, num_classes=labels.num_classes)
            results.append(
                ImageResult(
                    name=sample.name,
                    label_sha256=decoded.label_sha256,
                    counts=matrix_as_text(counts),
                )
            )
        if progress:
            progress(len(results), len(samples))
    return QualityMeasurement(
        **header(QualityMeasurement),
        subject=subject,
        predictor=predictor.model_dump(mode="json") if isinstance(predictor, Frozen) else predictor,
        dataset=dataset.name,
        split=split,
        fingerprint=_fingerprint(results),
        classes=labels.names,
        images=tuple(results),
        metrics=_metrics(results, labels, split),
    )


def _fingerprint(results: Sequence[ImageResult]) -> str:
    lines = "".join(f"{result.name}\t{result.label_sha256}\n" for result in results)
    return hashlib.sha256(lines.encode()).hexdigest()


def _metrics(
    results: Sequence[ImageResult], labels: LabelTable, split: str
) -> dict[str, float | None]:
    total = sum(
        (matrix_from_text(result.counts, labels.num_classes) for result in results),
        np.zeros((labels.num_classes, labels.num_classes + 1), np.int64),
    )
    if not total.any():
        raise DataError(f"no pixel of split {split} is labelled, so there is no mIoU")
    return summary(total, labels.names)
