"""int8 end to end: ranges from images, one calibration for two checkpoints, integer kernels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from artoolkit.backends.onnxruntime.runner import open_onnxruntime, optimised_graph
from artoolkit.deploy.onnx import graph_from_checkpoint, write_onnx
from artoolkit.deploy.quantize import Calibration, calibrate, quantized
from artoolkit.errors import ExportError
from artoolkit.graph.identity import compare_graphs
from deploy.tiny_network import seeded_images, target, tiny_checkpoint

TARGET = target(precision="int8")
IMAGES = seeded_images(3)
Int8 = tuple[onnx.ModelProto, tuple[str, ...]]


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return calibrate(tiny_checkpoint(), TARGET, IMAGES)


@pytest.fixture(scope="module")
def pair(calibration: Calibration) -> list[Int8]:
    return [
        quantized(*graph_from_checkpoint(tiny_checkpoint(seed), TARGET), TARGET, calibration)
        for seed in (0, 1)
    ]


def test_ranges_are_the_extremes_over_all_images(calibration: Calibration, tmp_path: Path) -> None:
    info = write_onnx(*graph_from_checkpoint(tiny_checkpoint(), TARGET), tmp_path / "float.onnx")
    names = tuple(sorted(calibration.ranges))
    with open_onnxruntime(info.path, outputs=names, threads=1) as runner:
        outputs = [runner.infer(image[None]) for image in IMAGES]
    for name in names:
        low, high = calibration.ranges[name]
        assert high == pytest.approx(max(o[name].max() for o in outputs), rel=1e-4)
        assert low == pytest.approx(min(0, min(o[name].min() for o in outputs)), rel=1e-4)
    assert (calibration.images, calibration.activation) == (3, "uint8")
    assert Calibration.model_validate_json(calibration.model_dump_json()) == calibration


def test_two_checkpoints_with_one_calibration_are_one_graph(pair: list[Int8]) -> None:
    (a, trained_a), (b, trained_b) = pair
    assert trained_a == trained_b
    assert compare_graphs(a, b, trained_a, trained_b) == ()


def test_another_calibration_is_another_graph(calibration: Calibration, pair: list[Int8]) -> None:
    a, trained = pair[0]
    name = min(calibration.ranges)
    wider = {**calibration.ranges, name: (-100.0, 100.0)}
    changed = calibration.model_copy(update={"ranges": wider})
    b, _ = quantized(*graph_from_checkpoint(tiny_checkpoint(), TARGET), TARGET, changed)
    assert compare_graphs(a, b, trained, trained)


def test_onnx_runtime_computes_it_in_integers_and_the_labels_hold(
    pair: list[Int8], tmp_path: Path
) -> None:
    model, trained = pair[0]
    int8 = write_onnx(model, trained, tmp_path / "int8.onnx").path
    exact = write_onnx(*graph_from_checkpoint(tiny_checkpoint(), TARGET), tmp_path / "f.onnx").path
    with open_onnxruntime(exact, threads=1) as a, open_onnxruntime(int8, threads=1) as b:
        same = [a.infer(i[None])["labels"] == b.infer(i[None])["labels"] for i in IMAGES]
    assert 0.9 < np.mean(same) <= 1
    optimised = onnx.load(str(optimised_graph(int8, tmp_path / "optimised.onnx", threads=1)))
    operators = [node.op_type for node in optimised.graph.node]
    assert operators.count("QLinearConv") == 2
    assert operators.count("QLinearAdd") == 1
    assert operators.count("Conv") == 2, "the stem, which reads 3 channels, and the classifier"


def test_float_layers_stay_in_float() -> None:
    calibration = calibrate(tiny_checkpoint(), TARGET, IMAGES[:1], float_layers=["body"])
    model, trained = quantized(
        *graph_from_checkpoint(tiny_checkpoint(), TARGET), TARGET, calibration
    )
    assert calibration.float_layers == ("stem", "body")
    assert {"body.weight", "stem.weight", "low.weight.int8"} <= set(trained)
    assert next(n for n in model.graph.node if n.name == "body").input[1] == "body.weight"
    with pytest.raises(ExportError, match="got neck"):
        calibrate(tiny_checkpoint(), TARGET, IMAGES[:1], float_layers=["neck"])


def test_tensorrt_gets_symmetric_int8_activations() -> None:
    on_gpu = target(precision="int8", backend="tensorrt", device="0")
    calibration = calibrate(tiny_checkpoint(), on_gpu, IMAGES[:1])
    model, _ = quantized(*graph_from_checkpoint(tiny_checkpoint(), on_gpu), on_gpu, calibration)
    zeros = [i for i in model.graph.initializer if i.name.endswith(".zero")]
    assert {i.data_type for i in zeros} == {onnx.TensorProto.INT8}
    assert all(not onnx.numpy_helper.to_array(i).any() for i in zeros)
