"""The exported file: its interface, its names, its bytes, and that it computes what torch does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from artoolkit.backends.onnxruntime.runner import open_onnxruntime
from artoolkit.deploy.graph import LabelsAndScores, deployed_module
from artoolkit.deploy.onnx import checked, graph_from_checkpoint, onnx_from_checkpoint
from artoolkit.errors import ExportError
from artoolkit.evidence.seal import file_sha256
from artoolkit.graph.identity import compare_graphs
from artoolkit.labels import LabelTable
from artoolkit.networks.checkpoint import Checkpoint
from artoolkit.preprocess import Preprocess
from deploy.tiny_network import CLASSES, Exporter, Tiny, seeded_images, target, tiny_checkpoint

BOTH = ("labels", "scores")


def outputs(path: Path, images: np.ndarray) -> dict[str, np.ndarray]:
    with open_onnxruntime(path, outputs=BOTH, threads=1) as runner:
        return runner.infer(images)


def trained_outputs(
    checkpoint: Checkpoint, images: np.ndarray, **changes: object
) -> list[np.ndarray]:
    deployed = deployed_module(checkpoint.network(), checkpoint.meta.preprocess, target(**changes))
    with torch.inference_mode():
        return [value.numpy() for value in LabelsAndScores(deployed)(torch.from_numpy(images))]


@pytest.mark.parametrize(
    "changes",
    [{}, {"output_size": (37, 53)}, {"opset": 18}, {"opset": 17}],
    ids=["cpu", "output size", "opset 18", "opset 17"],
)
def test_the_file_computes_what_the_trained_network_does(
    exporter: Exporter, changes: dict[str, object]
) -> None:
    images = seeded_images(1)
    labels, scores = trained_outputs(tiny_checkpoint(), images, **changes)
    found = outputs(exporter(**changes).path, images)
    np.testing.assert_allclose(found["scores"], scores, atol=1e-4)
    assert (found["labels"] == labels).mean() >= 0.9999
    assert len(np.unique(labels)) == CLASSES


def test_fp16_stays_within_its_margins_of_float32(exporter: Exporter) -> None:
    images = seeded_images(1)
    labels, scores = trained_outputs(tiny_checkpoint(), images)
    info = exporter(precision="fp16")
    found = outputs(info.path, images)
    assert found["scores"].dtype == np.float16
    assert found["labels"].dtype == np.uint8
    assert np.abs(found["scores"] - scores).max() < 0.05
    assert (found["labels"] == labels).mean() >= 0.99
    floats = {i.data_type for i in onnx.load(str(info.path)).graph.initializer}
    assert onnx.TensorProto.FLOAT16 in floats


def test_interface_and_form(exporter: Exporter) -> None:
    info = exporter()
    model = onnx.load(str(info.path), load_external_data=False)
    (image,), (labels,) = model.graph.input, model.graph.output
    assert (image.name, [d.dim_value for d in image.type.tensor_type.shape.dim]) == (
        "image", [1, 40, 56, 3],
    )  # fmt: skip
    assert (labels.name, [d.dim_value for d in labels.type.tensor_type.shape.dim]) == (
        "labels", [1, 40, 56],
    )  # fmt: skip
    assert {image.type.tensor_type.elem_type, labels.type.tensor_type.elem_type} == {
        onnx.TensorProto.UINT8
    }
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 20)]
    assert not any(i.HasField("data_location") and i.data_location for i in model.graph.initializer)
    assert info.sha256 == file_sha256(info.path)
    assert [p.name for p in info.path.parent.glob(f"{info.path.stem}.*")] == [info.path.name]


def test_nothing_is_left_over(exporter: Exporter) -> None:
    census = exporter().census
    for operator in ("Identity", "Gather", "Shape", "Constant", "Expand", "Concat", "CastLike"):
        assert operator not in census
    # The stem's and the body's normalisation are folded; the lone one and the pixels' stay.
    assert (census["Conv"], census["BatchNormalization"]) == (4, 2)


def test_trained_parameters_keep_their_state_dict_names(exporter: Exporter) -> None:
    info, checkpoint = exporter(), tiny_checkpoint()
    assert set(info.trained) == {
        "stem.weight", "stem_norm.bias", "body.weight", "body_norm.bias", "alone.weight",
        "alone.bias", "alone.running_mean", "alone.running_var", "low.weight", "low.bias",
        "classifier.weight", "classifier.bias",
    }  # fmt: skip
    assert set(info.trained) <= set(checkpoint.state)
    names = {node.name for node in onnx.load(str(info.path)).graph.node}
    assert {"stem", "body", "low", "classifier", "alone"} <= names


def test_no_path_of_this_machine_is_in_the_file(exporter: Exporter) -> None:
    content = exporter().path.read_bytes()
    assert b"/site-packages/" not in content
    assert str(Path(__file__).parent.parent).encode() not in content


def test_the_same_checkpoint_gives_the_same_bytes(exporter: Exporter, tmp_path: Path) -> None:
    again = onnx_from_checkpoint(tiny_checkpoint(), target(), tmp_path / "again.onnx")
    assert again.path.read_bytes() == exporter().path.read_bytes()


def test_weights_that_are_zero_or_equal_do_not_change_the_graph(exporter: Exporter) -> None:
    # The exporter's own optimizer would drop zero biases and merge equal ones.
    checkpoint = tiny_checkpoint()
    state = {
        k: torch.zeros_like(v) if k.endswith("bias") else v for k, v in checkpoint.state.items()
    }
    zeroed, trained = graph_from_checkpoint(replace(checkpoint, state=state), target())
    info = exporter()
    assert trained == info.trained
    assert compare_graphs(onnx.load(str(info.path)), zeroed, info.trained, trained) == ()


def test_metadata_has_the_keys_that_readers_know(exporter: Exporter) -> None:
    found = {p.key: p.value for p in onnx.load(str(exporter().path)).metadata_props}
    assert set(found) == {
        "description", "author", "date", "version", "license", "stride", "task", "batch", "imgsz",
        "names", "args", "labels", "preprocess",
    }  # fmt: skip
    assert found["imgsz"] == "[40, 56]"
    assert found["stride"] == "4"
    assert found["names"].startswith("{0: 'class_0', 1: 'class_1'")
    meta = tiny_checkpoint().meta
    assert LabelTable.model_validate_json(found["labels"]) == meta.labels
    assert Preprocess.model_validate_json(found["preprocess"]) == meta.preprocess


def test_an_operator_without_a_form_in_onnx_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def eigenvalues(self: Tiny, images: torch.Tensor) -> torch.Tensor:
        square = self.classifier(self.stem(images))[..., :4, :4]
        return torch.linalg.eigvals(square).real[..., None]

    checkpoint = tiny_checkpoint()
    monkeypatch.setattr(Tiny, "forward", eigenvalues)
    with pytest.raises(ExportError) as caught:
        graph_from_checkpoint(checkpoint, target())
    assert "\n" not in str(caught.value)
    assert "aten.linalg_eig" in str(caught.value)


def test_a_training_only_part_in_the_graph_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tiny, "training_only", ("low.",))
    with pytest.raises(ExportError, match=r"got low\.bias, low\.weight"):
        graph_from_checkpoint(tiny_checkpoint(), target())


def test_another_opset_than_the_targets_is_refused(exporter: Exporter) -> None:
    model = onnx.load(str(exporter().path))
    with pytest.raises(ExportError, match="got 20; expected 19"):
        checked(model, target(opset=19))


def test_an_invalid_graph_is_refused(exporter: Exporter) -> None:
    model = onnx.load(str(exporter().path))
    next(n for n in model.graph.node if n.op_type == "Conv").input[0] = "nowhere"
    with pytest.raises(ExportError, match="not valid ONNX") as caught:
        checked(model, target())
    assert "\n" not in str(caught.value)
