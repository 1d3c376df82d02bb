"""Every form of an exported network says what the trained one says, in every precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from artoolkit.backends.onnxruntime.runner import open_onnxruntime
from artoolkit.backends.tensorrt.program import compare_programs
from artoolkit.checks.outputs import golden_replay
from artoolkit.deploy.export import export_bundle, trained_labels
from artoolkit.deploy.trained import LabelledImage, parity_of_export
from artoolkit.evaluation.predictor import RunnerPredictor
from artoolkit.evidence.bundle import Bundle
from artoolkit.graph.forms import FORMS, write_form
from artoolkit.graph.identity import compare_graphs
from artoolkit.graph.onnx_file import load_onnx
from artoolkit.optional import is_installed
from deploy.tiny_network import CLASSES, Exporter, seeded_images, target, tiny_checkpoint

IMAGES = seeded_images(2)
# Random weights, so that classes tie more often than those of a trained network.
LEAST = {"fp32": 0.9995, "fp16": 0.98, "int8": 0.9}


@pytest.fixture(scope="module", params=LEAST)
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Of a TensorRT target, with another checkpoint as its baseline."""
    chosen = target(precision=request.param, backend="tensorrt", head="chain")
    return export_bundle(
        tiny_checkpoint(),
        chosen,
        tmp_path_factory.mktemp("bundle") / "out",
        images=list(IMAGES),
        baseline=tiny_checkpoint(1),
        float_layers=(),
    )


@pytest.mark.parametrize("forms", [(), *((form,) for form in FORMS)], ids=str)
def test_labels_are_the_trained_networks(
    bundle: Bundle, tmp_path: Path, forms: tuple[str, ...]
) -> None:
    # int8 is decided on the baseline, and so is right for its weights.
    assert bundle.baseline is not None
    path = tmp_path / "form.onnx"
    write_form(bundle.baseline.model, forms, path)
    with open_onnxruntime(path, threads=1) as runner:
        found = np.concatenate([runner.infer(image[None])["labels"] for image in IMAGES])
    chosen = bundle.manifest.target
    trained = trained_labels(tiny_checkpoint(1), chosen, IMAGES)
    assert (found == trained).mean() >= LEAST[chosen.precision]
    assert len(np.unique(trained)) == CLASSES


@pytest.mark.parametrize("form", FORMS)
def test_a_form_of_two_checkpoints_is_one_graph(bundle: Bundle, tmp_path: Path, form: str) -> None:
    assert bundle.baseline is not None
    files = []
    for index, one in enumerate((bundle.baseline, bundle)):
        files.append(tmp_path / f"{index}.onnx")
        write_form(one.model, (form,), files[-1])
    a, b = (load_onnx(path, "a test") for path in files)
    trained = bundle.manifest.trained
    assert compare_graphs(a, b, trained, trained) == ()
    assert compare_graphs(onnx.load(bundle.model), b, trained, trained)


def test_the_bundle_holds_the_plain_graph(bundle: Bundle) -> None:
    nodes = onnx.load(bundle.model).graph.node
    operators = [node.op_type for node in nodes]
    assert operators[:3] == ["Cast", "Transpose", "BatchNormalization"]
    assert operators[-4:] == ["Resize", "ArgMax", "Cast", "Cast"]
    # TensorRT documents the conversion to uint8 from float alone, not from ArgMax's integers.
    casts = [onnx.helper.get_node_attr_value(node, "to") for node in nodes[-2:]]
    assert casts == [onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_planar_floats_in_and_integers_out_are_the_same_network(
    tmp_path: Path, precision: str
) -> None:
    """What Isaac ROS and DeepStream pass on: scores, labels, chain and predictions hold."""
    form = {"layout": "nchw_float32", "labels_dtype": "int32"}
    chosen = target(precision=precision, head="chain", **form)
    made = export_bundle(
        tiny_checkpoint(1), chosen, tmp_path / "out", images=list(IMAGES), float_layers=()
    )
    image, labels = load_onnx(made.model, "a test").graph.input[0], chosen.tensors[1]
    assert image.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert [d.dim_value for d in image.type.tensor_type.shape.dim] == [1, 3, 40, 56]
    shown = [LabelledImage(one) for one in IMAGES]
    parity = parity_of_export(tiny_checkpoint(1), made.model, chosen, shown)
    assert parity.agreement >= LEAST[precision]
    write_form(made.model, chosen.forms, tmp_path / "chain.onnx")
    found = []
    for file in (made.model, tmp_path / "chain.onnx"):
        runner = open_onnxruntime(file, threads=1)
        assert runner.spec.inputs == chosen.tensors[:1] and runner.spec.outputs == (labels,)
        assert golden_replay(runner, made)["agreement"] >= LEAST[precision]
        with RunnerPredictor(runner, made.manifest.labels) as predictor:
            found.append(predictor([IMAGES[0][:30]])[0])
    assert np.array_equal(*found) and found[0].dtype == np.uint8 and found[0].shape == (30, 56)


@pytest.mark.skipif(not is_installed("tensorrt_rtx"), reason="tensorrt-rtx is not installed")
def test_rtx_builds_the_other_layout_into_one_program(exporter: Exporter, tmp_path: Path) -> None:
    form = {"layout": "nchw_float32", "labels_dtype": "int32", "head": "chain"}
    files, trained = [tmp_path / "a.onnx", tmp_path / "b.onnx"], ()
    for seed, file in enumerate(files):
        info = exporter(seed, **form)
        write_form(info.path, ("chain",), file)
        trained = info.trained
    (check,) = compare_programs(*files, trained=trained)
    assert check.result == "PASS" and check.method == "bytes"
