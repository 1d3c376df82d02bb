"""The head for CPUs gives the labels of the plain one."""

from __future__ import annotations

import numpy as np
import onnx

from artoolkit.backends.onnxruntime import open_onnxruntime
from artoolkit.deploy.head import channels_last_head
from artoolkit.deploy.onnx import graph_from_checkpoint
from deploy.tiny_network import Exporter, pictures, target, tiny_checkpoint


def test_channels_last_gives_the_same_labels_and_scores(exporter: Exporter) -> None:
    images = pictures(1)
    results = []
    for backend in ("onnxruntime", "tensorrt"):
        path = exporter(backend=backend).path
        with open_onnxruntime(path, outputs=("labels", "scores"), threads=1) as runner:
            results.append(runner.infer(images))
    np.testing.assert_array_equal(results[0]["labels"], results[1]["labels"])
    np.testing.assert_allclose(results[0]["scores"], results[1]["scores"], atol=1e-5)


def test_only_the_low_resolution_scores_are_moved(exporter: Exporter) -> None:
    nodes = list(onnx.load(str(exporter().path)).graph.node)
    transpose = next(n for n in nodes if "scores" in n.input)
    resize = next(n for n in nodes if transpose.output[0] in n.input)
    argmax = next(n for n in nodes if resize.output[0] in n.input)
    assert [n.op_type for n in (transpose, resize, argmax)] == ["Transpose", "Resize", "ArgMax"]


def test_a_graph_without_this_head_is_left_alone(exporter: Exporter) -> None:
    model = onnx.load(str(exporter(head="chain").path))
    before = model.SerializeToString(deterministic=True)
    assert channels_last_head(model) is False
    assert model.SerializeToString(deterministic=True) == before
    unresized, _ = graph_from_checkpoint(tiny_checkpoint(), target(output_size=(10, 14)))
    assert channels_last_head(unresized) is False
