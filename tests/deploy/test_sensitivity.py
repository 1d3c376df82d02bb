"""The layers that stay in float are those that a measurement names, and as few as are needed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from artoolkit.deploy.onnx import graph_from_checkpoint
from artoolkit.deploy.quantize import Calibration, calibrate, quantized
from artoolkit.deploy.sensitivity import Sensitivity, sensitive_layers
from artoolkit.words import AUTO
from deploy.tiny_network import seeded_images, target, tiny_checkpoint

IMAGES = seeded_images(2)
LAYERS = ("stem", "body", "low")
NOISE = {"stem": 0.0, "body": 0.02, "low": 0.6}


def found(
    bound: float, layers: Sequence[str] = LAYERS
) -> tuple[tuple[str, ...], Sensitivity, list[float]]:
    """With a stand-in for int8 that spoils each layer's weights by a known amount."""
    model, _ = graph_from_checkpoint(tiny_checkpoint(), target())
    shares: list[float] = []

    def quantise(kept: Sequence[str]) -> onnx.ModelProto:
        spoiled = onnx.ModelProto()
        spoiled.CopyFrom(model)
        for tensor in spoiled.graph.initializer:
            layer = tensor.name.partition(".")[0]
            if tensor.name == f"{layer}.weight" and layer in set(layers) - set(kept):
                value = numpy_helper.to_array(tensor)
                noise = np.random.default_rng(0).standard_normal(value.shape, np.float32)
                amount = NOISE[layer] * np.float32(value.std())
                tensor.CopyFrom(numpy_helper.from_array(value + amount * noise, tensor.name))
        return spoiled

    kept, sensitivity = sensitive_layers(
        model, quantise, layers, IMAGES, bound=bound, progress=lambda _, share: shares.append(share)
    )
    return kept, sensitivity, shares


def test_nothing_stays_in_float_where_all_of_int8_keeps_the_bound() -> None:
    kept, sensitivity, shares = found(0.1)
    assert kept == ()
    assert sensitivity.layers == ()
    assert sensitivity.chosen == sensitivity.all_int8 > 0.1
    assert shares == [0.0]


def test_the_layer_that_does_the_harm_is_found_and_no_other() -> None:
    kept, sensitivity, shares = found(0.9)
    assert kept == ("low",)
    assert sensitivity.all_int8 < 0.9 <= sensitivity.chosen
    assert [one.layer for one in sensitivity.layers] == ["low", "body", "stem"]
    by_layer = {one.layer: one for one in sensitivity.layers}
    assert by_layer["stem"].agreement == 1
    assert by_layer["low"].scores_error > by_layer["body"].scores_error > 0
    assert (sensitivity.images, sensitivity.bound) == (2, 0.9)
    # All at once; one by one; and two steps to find how many.
    assert shares == [0.0, 0.0, pytest.approx(1 / 3), pytest.approx(2 / 3), 0.0, 0.5]


def test_a_bound_that_only_float_keeps_leaves_every_harmful_layer_in_float() -> None:
    kept, sensitivity, _ = found(1.0)
    assert kept == ("low", "body")
    assert sensitivity.chosen == 1


def strict(agreement: float, backend: str = "onnxruntime") -> dict[str, object]:
    return {
        "precision": "int8",
        "backend": backend,
        "margins": {"label_agreement": {"int8": agreement}},
    }


@pytest.mark.parametrize("backend", ["onnxruntime", "tensorrt"])
def test_calibration_records_what_was_found_and_its_graph_keeps_the_bound(backend: str) -> None:
    checkpoint, wanted = tiny_checkpoint(), target(**strict(0.999, backend))
    calibration = calibrate(checkpoint, wanted, IMAGES, float_layers=AUTO)
    assert calibration.sensitivity is not None
    assert calibration.sensitivity.bound == 0.999
    assert calibration.sensitivity.chosen >= 0.999
    assert len(calibration.float_layers) > 0
    assert Calibration.model_validate_json(calibration.model_dump_json()) == calibration
    model, trained = graph_from_checkpoint(checkpoint, wanted)
    again, _ = quantized(model, trained, wanted, calibration)
    assert onnx.TensorProto.FLOAT in {i.data_type for i in again.graph.initializer}


def test_only_the_ranges_that_are_needed_are_kept() -> None:
    loose = calibrate(tiny_checkpoint(), target(**strict(0.1)), IMAGES, float_layers=AUTO)
    plain = calibrate(tiny_checkpoint(), target(precision="int8"), IMAGES)
    assert loose.ranges == plain.ranges
    assert loose.float_layers == plain.float_layers == ("stem",)
