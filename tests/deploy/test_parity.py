"""Parity counted by hand, and a layer that was tampered with is the one that is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from artoolkit.backends.runner import Feeds, OpenRunner, Outputs
from artoolkit.deploy.parity import (
    Parity,
    compare_outputs,
    first_difference,
    largest_errors,
    layer_errors,
)
from artoolkit.errors import BackendError
from artoolkit.spec import RunnerSpec, TensorSpec
from deploy.tiny_network import Exporter, seeded_images

SHAPE = (1, 2, 2, 3)
Result = Callable[[np.ndarray], tuple[list[int], list[float]]]


class Scripted(OpenRunner):
    """Says what a function says."""

    def __init__(self, result: Result) -> None:
        image = TensorSpec(name="image", dtype="uint8", shape=SHAPE)
        super().__init__(RunnerSpec(backend="torch", device="cpu", inputs=(image,), outputs=()))
        self._result = result

    def _infer(self, feeds: Feeds) -> Outputs:
        labels, scores = self._result(feeds["image"])
        return {
            "labels": np.array(labels, np.uint8).reshape(1, 2, 2),
            "scores": np.array(scores, np.float32),
        }

    def _release(self) -> None: ...


def images(*labels: list[int] | None) -> list[tuple[np.ndarray, np.ndarray | None]]:
    image = np.zeros(SHAPE, np.uint8)
    return [
        (image, None if one is None else np.array(one, np.uint8).reshape(1, 2, 2)) for one in labels
    ]


def test_scores_and_agreement_by_hand() -> None:
    reference = Scripted(lambda _: ([0, 1, 2, 3], [4.0, -8.0]))
    candidate = Scripted(lambda _: ([0, 1, 2, 9], [4.5, -8.0]))
    assert compare_outputs(reference, candidate, images(None, None)) == Parity(
        images=2, pixels=8, scores_max_abs=0.5, scores_max_rel=0.0625,
        scores_spread=12.0, agreement=0.75,
    )  # fmt: skip
    # The pixel that differs is void in one image and labelled in the other.
    found = compare_outputs(reference, candidate, images([7, 7, 7, 255], [255, 255, 255, 7]))
    assert (found.pixels, found.agreement) == (4, 0.75)


@pytest.mark.parametrize(
    ("atol", "agreement", "holds"), [(0.5, 0.75, True), (0.4, 0.75, False), (0.5, 0.76, False)]
)
def test_both_margins_must_hold(atol: float, agreement: float, holds: bool) -> None:
    parity = Parity(1, 4, 0.5, 0.1, 1.0, 0.75)
    assert parity.holds(atol=atol, agreement=agreement) is holds


def test_nan_and_nothing_labelled_are_errors() -> None:
    fine = Scripted(lambda _: ([0, 0, 0, 0], [1.0]))
    broken = Scripted(lambda _: ([0, 0, 0, 0], [float("nan")]))
    with pytest.raises(BackendError, match="not finite"):
        compare_outputs(fine, broken, images(None))
    with pytest.raises(BackendError, match="nothing to compare"):
        compare_outputs(fine, fine, images([255] * 4))


def test_a_file_does_not_differ_from_itself(exporter: Exporter) -> None:
    path = exporter().path
    errors = layer_errors(path, path, seeded_images(1))
    assert {"stem", "body", "low", "classifier"} <= {error.layer for error in errors}
    assert max(error.max_abs for error in errors) == 0
    assert first_difference(errors, relative=1e-6) is None


def test_the_layer_that_was_changed_is_the_first_to_differ(
    exporter: Exporter, tmp_path: Path
) -> None:
    model = onnx.load(str(exporter().path))
    weight = next(i for i in model.graph.initializer if i.name == "low.weight")
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * 1.5, weight.name))
    changed = tmp_path / "changed.onnx"
    onnx.save(model, str(changed))
    errors = layer_errors(exporter().path, changed, seeded_images(1))
    first = first_difference(errors, relative=0.01)
    assert first is not None
    assert (first.layer, first.operator) == ("low", "Conv")
    largest = largest_errors(errors, 2)
    assert len(largest) == 2
    assert largest[0].relative == max(error.relative for error in errors)


def test_fp16_errors_are_small_and_every_layer_is_compared(exporter: Exporter) -> None:
    errors = layer_errors(exporter().path, exporter(precision="fp16").path, seeded_images(1))
    assert {"stem", "body", "low", "classifier"} <= {error.layer for error in errors}
    assert 0 < max(error.relative for error in errors) < 0.01
