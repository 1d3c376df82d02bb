"""mIoU of anything that predicts labels, on a data set, with one confusion matrix per image.

`judged` is the one evaluation loop, `evaluate` the whole of it from a file. Evaluation is at the
label's size (`predictor.py`). The matrices are kept, so that two measurements can be compared image
by image (`artoolkit.evaluation.bootstrap`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from artoolkit.cost.opening import model_at, subject_of
from artoolkit.data import dataset_of
from artoolkit.errors import DataError
from artoolkit.evaluation.opening import open_predictor, trained_on
from artoolkit.evaluation.predictor import Pixels, Predictor, SizeHW, predicted
from artoolkit.evaluation.views import WHOLE, Views
from artoolkit.evidence.bundle import Bundle
from artoolkit.evidence.records import Record, header
from artoolkit.evidence.verdict import Subject
from artoolkit.labels import LabelTable
from artoolkit.metrics import Matrix, confusion_matrix, summary
from artoolkit.spec import Frozen

if TYPE_CHECKING:
    from artoolkit.backends.backend import Progress
    from artoolkit.data import DataSet, Sample
    from artoolkit.evaluation.opening import Model
    from artoolkit.spec import RequestedNetwork
    from artoolkit.words import CudaMemory


class ImageResult(Frozen):
    """One image: its name, the sha256 of its decoded label map, and its confusion matrix.

    `counts` holds the cells that are not 0 as `index:count`, by index in the C x (C + 1) matrix.
    """

    name: str
    label_sha256: str
    counts: str


class QualityMeasurement(Record):
    """Quality of the predicted labels of a split; `metrics` are in percent.

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


def label_sha256(label: Pixels) -> str:
    """Hexadecimal sha256 of a uint8 H x W label map: its shape, then its bytes."""
    digest = hashlib.sha256(repr(label.shape).encode())
    digest.update(np.ascontiguousarray(label).data)
    return digest.hexdigest()


@dataclass(frozen=True)
class Judged:
    """One image that was predicted: its true and predicted train ids, uint8 H x W, and the counts
    of the two, int64 C x (C + 1)."""

    name: str
    label: Pixels
    label_sha256: str
    predicted: Pixels
    counts: Matrix


def judged(
    predictor: Predictor, dataset: DataSet, samples: Sequence[Sample], *, threads: int = 1
) -> Iterator[Judged]:
    """Predicts every sample at its label's size, in order; other `threads` read ahead.

    Every mIoU of artoolkit is a sum of these counts.
    """

    def read(sample: Sample) -> tuple[Pixels, tuple[Pixels, str]]:
        image, label = dataset.read_image(sample), dataset.read_label(sample)
        return image, (label, label_sha256(label))

    classes = predictor.labels.num_classes
    found = predicted(predictor, samples, read, threads=threads)
    for sample, _, (label, sha256), labels in found:
        counts = confusion_matrix(labels, label, num_classes=classes)
        yield Judged(sample.name, label, sha256, labels, counts)


def measure_quality(
    predictor: Predictor,
    dataset: DataSet,
    split: str,
    *,
    subject: Subject,
    progress: Callable[[int, int], None] | None = None,
) -> QualityMeasurement:
    """Predicts every image of a split and counts; `progress` gets images done and in all.

    `DataError` if the data set's classes are not those that the predictor was trained with, or if
    no pixel of the split is labelled.
    """
    labels = predictor.labels
    if labels.names != dataset.labels.names:
        raise DataError(
            f"the network and {dataset.name} have different classes",
            got=", ".join(labels.names),
            expected=", ".join(dataset.labels.names),
        )
    samples = dataset.samples(split)
    results: list[ImageResult] = []
    for one in judged(predictor, dataset, samples):
        results.append(
            ImageResult(
                name=one.name, label_sha256=one.label_sha256, counts=matrix_as_text(one.counts)
            )
        )
        if progress:
            progress(len(results), len(samples))
    return QualityMeasurement(
        **header(QualityMeasurement),
        subject=subject,
        predictor=predictor.settings,
        dataset=dataset.name,
        split=split,
        fingerprint=_fingerprint(results),
        classes=labels.names,
        images=tuple(results),
        metrics=_metrics(results, labels, split),
    )


def evaluate(
    model: Model,
    dataset: DataSet | str | None = None,
    *,
    data_root: Path | str | None = None,
    classes: Path | str | None = None,
    split: str = "val",
    network: RequestedNetwork | str | None = None,
    backend: str | None = None,
    device: str | None = None,
    imgsz: SizeHW | None = None,
    threads: int | None = None,
    cuda_memory: CudaMemory | None = None,
    views: Views = WHOLE,
    progress: Progress | None = None,
) -> QualityMeasurement:
    """Measure the mIoU of `model` on a split, with one confusion matrix per image.

    model: a checkpoint, a bundle, an engine in a bundle or an .onnx file, or what is open already.
    dataset, data_root, classes: as in `artoolkit.data.open_dataset`, or an open data set; None: the
    one that the model was trained on.
    progress: called with words and the share that is done.

    The other arguments and the errors are those of `open_predictor` and `measure_quality`.

    >>> import artoolkit
    >>> measured = artoolkit.evaluate("runs/ar/model.safetensors", "cityscapes",
    ...                               data_root="streets")
    >>> 0 <= measured.metrics["mIoU"] <= 100, measured.matrices().shape
    (True, (2, 19, 20))
    """

    def report(done: int, total: int) -> None:
        if progress:
            progress(f"mIoU on {split}", done / total)

    data = dataset_of(dataset or trained_on(model), data_root, classes=classes)
    with open_predictor(
        model, network=network, labels=data.labels, backend=backend, device=device, imgsz=imgsz,
        threads=threads, cuda_memory=cuda_memory, views=views,
    ) as predictor:  # fmt: skip
        return measure_quality(predictor, data, split, subject=_subject(model), progress=report)


def _subject(model: Model) -> Subject:
    """Of a bundle or a file; of a network in memory its name alone."""
    if isinstance(model, (str, os.PathLike)):
        model = model_at(Path(model))
    if isinstance(model, (Bundle, Path)):
        return subject_of(model)
    if model.path is not None:
        return subject_of(model.path)
    return Subject(name=model.meta.network, sha256="")


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
