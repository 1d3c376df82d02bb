"""The sparse head gives the labels of the dense one, on maps of every kind and size."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper
from torch.nn import functional

from artoolkit.backends.onnxruntime.runner import open_onnxruntime
from artoolkit.deploy.onnx import graph_from_checkpoint
from artoolkit.deploy.sparse_head import cell_axis, sparse_nodes
from artoolkit.errors import ExportError
from deploy.tiny_network import Exporter, pictures, target, tiny_checkpoint

Scores = NDArray[np.float32]


def sparse_labels(scores: Scores, labels_hw: tuple[int, int], *, align_corners: bool) -> Scores:
    shape = (scores.shape[0], scores.shape[1], scores.shape[2], scores.shape[3])
    nodes, constants = sparse_nodes(shape, labels_hw=labels_hw, align_corners=align_corners)
    graph = helper.make_graph(
        nodes,
        "head",
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("labels", TensorProto.UINT8, (shape[0], *labels_hw))],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    labels: Scores = session.run(None, {"scores": scores})[0]
    return labels


def wrong_pixels(scores: Scores, labels_hw: tuple[int, int], *, align_corners: bool) -> int:
    """Pixels whose class is not best by more than rounding in torch's resize in float64."""
    dense = functional.interpolate(
        torch.from_numpy(scores).double(), labels_hw, mode="bilinear", align_corners=align_corners
    ).numpy()
    labels = sparse_labels(scores, labels_hw, align_corners=align_corners)
    chosen = np.take_along_axis(dense, labels[:, None].astype(np.int64), 1)[:, 0]
    return int((dense.max(1) - chosen > 1e-5).sum())


def smooth(shape: tuple[int, int, int, int], seed: int) -> Scores:
    """Large areas with one best class each, as a trained network gives."""
    torch.manual_seed(seed)
    coarse = torch.randn(*shape[:2], 3, 4)
    return functional.interpolate(coarse, shape[2:], mode="bicubic", align_corners=True).numpy()


@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 2),
    classes=st.integers(1, 6),
    height=st.integers(2, 9),
    width=st.integers(2, 9),
    more=st.tuples(st.integers(0, 30), st.integers(0, 30)),
    align_corners=st.booleans(),
    noise=st.sampled_from([0.0, 0.1, 10.0]),
    seed=st.integers(0, 1000),
)
def test_the_labels_of_the_dense_head_for_any_size(
    batch: int,
    classes: int,
    height: int,
    width: int,
    more: tuple[int, int],
    align_corners: bool,
    noise: float,
    seed: int,
) -> None:
    scores = smooth((batch, classes, height, width), seed)
    scores += noise * np.random.default_rng(seed).standard_normal(scores.shape, np.float32)
    labels_hw = (height + more[0], width + more[1])
    assert wrong_pixels(scores, labels_hw, align_corners=align_corners) == 0


def test_a_class_that_is_best_only_inside_a_cell_is_found() -> None:
    corners = np.array([[[4, 0], [0, 4]], [[0, 4], [4, 0]], [[3, 3], [3, 3]]], np.float32)[None]
    labels = sparse_labels(corners, (5, 5), align_corners=True)
    assert labels[0, 0, 0] == 0
    assert labels[0, 0, -1] == 1
    assert labels[0, 2, 2] == 2


def test_one_class_everywhere_leaves_nothing_to_compute() -> None:
    scores = np.zeros((1, 3, 4, 4), np.float32)
    scores[:, 2] = 1
    np.testing.assert_array_equal(sparse_labels(scores, (16, 16), align_corners=False), 2)


@pytest.mark.parametrize(("pixels", "positions"), [(37, 9), (9, 9), (10, 9), (100, 3)])
@pytest.mark.parametrize("align_corners", [False, True])
def test_listed_cells_hold_every_pixel_once_and_repeat_only_their_last(
    pixels: int, positions: int, align_corners: bool
) -> None:
    axis = cell_axis(pixels, positions, align_corners=align_corners)
    each = [np.unique(members) for members in axis.pixels]
    assert sorted(np.concatenate(each)) == list(range(pixels))
    for cell, members in zip(axis.listed, axis.pixels, strict=True):
        np.testing.assert_array_equal(axis.cell_of[members], cell)
        assert (np.diff(members) >= 0).all()
    np.testing.assert_allclose(axis.weights.sum(2), 1, rtol=1e-6)


def test_a_few_larger_cells_do_not_make_all_larger() -> None:
    axis = cell_axis(1024, 256, align_corners=True)
    assert axis.pixels.shape == (259, 4)
    assert (np.bincount(axis.listed) == 2).sum() == 4, "251 cells of 4 pixels and 4 of 5"


def test_exported_with_the_network(exporter: Exporter) -> None:
    found, dense = exporter(head="sparse"), exporter()
    assert found.census["NonZero"] == 1
    assert "Resize" in found.census
    results = []
    for path in (found.path, dense.path):
        with open_onnxruntime(path, threads=1) as runner:
            results.append(runner.infer(pictures(1))["labels"])
    np.testing.assert_array_equal(results[0], results[1])
    assert len(np.unique(results[0])) > 1


@pytest.mark.parametrize(
    "changes", [{"precision": "fp16"}, {"output_size": (10, 14)}, {"output_size": (7, 9)}]
)
def test_what_it_cannot_replace_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ExportError, match="sparse head"):
        graph_from_checkpoint(tiny_checkpoint(), target(head="sparse", **changes))


def test_it_is_for_a_cpu_only() -> None:
    with pytest.raises(ValueError, match="ONNX Runtime on a CPU"):
        target(head="sparse", backend="tensorrt")
