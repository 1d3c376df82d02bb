"""A predictor that a plain function of images stands in for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from artoolkit.evaluation.predictor import Pixels, Predictor
from artoolkit.labels import LabelTable


class ByFunction(Predictor):
    """`labels_of`: images -> one train-id map of each image's size."""

    def __init__(
        self,
        labels_of: Callable[[Sequence[Pixels]], Sequence[Pixels]],
        labels: LabelTable,
        *,
        batch: int = 1,
    ) -> None:
        self.labels, self.settings, self.batch = labels, {"backend": "none"}, batch
        self._labels_of = labels_of

    def __call__(self, images: Sequence[Pixels]) -> list[Pixels]:
        return list(self._labels_of(images))

    def scores(self, image: Pixels) -> Any:
        raise AssertionError("a function has no scores")

    def close(self) -> None: ...
