"""Every form of an exported network says what the trained one says, in every precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from artoolkit.backends.onnxruntime.runner import open_onnxruntime
from artoolkit.deploy.export import export_bundle, trained_labels
from artoolkit.evidence.bundle import Bundle
from artoolkit.graph.forms import FORMS, write_form
from artoolkit.graph.identity import compare_graphs
from artoolkit.graph.onnx_file import load_onnx
from deploy.tiny_network import CLASSES, pictures, target, tiny_checkpoint

IMAGES = pictures(2)
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
