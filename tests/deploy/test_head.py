"""The head for CPUs gives the labels of the plain one, for every size."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn import functional

from artoolkit.backends.onnxruntime.runner import open_onnxruntime
from artoolkit.deploy.head import cpu_head, tiled_resize
from artoolkit.deploy.onnx import graph_from_checkpoint
from deploy.tiny_network import Exporter, pictures, target, tiny_checkpoint

BOTH = ("labels", "scores")


@settings(max_examples=60, deadline=None)
@given(
    tiles=st.integers(1, 5),
    size=st.integers(1, 32),
    inputs=st.integers(1, 60),
    align_corners=st.booleans(),
)
def test_tiles_resize_as_torch_does(
    tiles: int, size: int, inputs: int, align_corners: bool
) -> None:
    found = tiled_resize(tiles * size, inputs, 16, align_corners=align_corners)
    assume(found is not None)
    assert found is not None
    values = np.random.default_rng(size).standard_normal(inputs)
    result = np.einsum("tsr,tr->ts", found.weights, values[found.positions]).ravel()
    expected = functional.interpolate(
        torch.from_numpy(values)[None, None, :, None],
        (tiles * size, 1),
        mode="bilinear",
        align_corners=align_corners,
    )[0, 0, :, 0]
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_a_tile_reads_only_what_it_needs_and_a_prime_size_has_none() -> None:
    found = tiled_resize(1024, 256, 16, align_corners=True)
    assert found is not None
    assert found.weights.shape == (64, 16, 6)
    assert found.positions.max() == 255
    assert tiled_resize(1021, 256, 16, align_corners=True) is None


def outputs(exporter: Exporter, **changes: object) -> dict[str, np.ndarray]:
    path = exporter(**changes).path
    batch = int(str(changes.get("batch", 1)))
    with open_onnxruntime(path, outputs=BOTH, threads=1) as runner:
        return runner.infer(pictures(batch))


@pytest.mark.parametrize(
    "changes",
    [{}, {"batch": 2}, {"output_size": (37, 53)}, {"precision": "fp16"}],
    ids=["tiles", "batch", "prime sizes", "fp16"],
)
def test_the_labels_and_scores_of_the_plain_head(
    exporter: Exporter, changes: dict[str, object]
) -> None:
    found = outputs(exporter, **changes)
    plain = outputs(exporter, backend="tensorrt", **changes)
    np.testing.assert_allclose(
        found["scores"].astype(float), plain["scores"].astype(float), atol=1e-5
    )
    assert (found["labels"] == plain["labels"]).mean() >= 0.9995
    assert len(np.unique(plain["labels"])) > 1


def test_only_low_resolution_scores_are_moved_and_nothing_is_resized_after(
    exporter: Exporter,
) -> None:
    nodes = list(onnx.load(str(exporter().path)).graph.node)
    start = next(i for i, node in enumerate(nodes) if "scores" in node.input)
    assert [node.op_type for node in nodes[start:]] == [
        "Transpose", "Gather", "MatMul", "Reshape", "Gather", "MatMul", "Reshape", "ArgMax", "Cast",
    ]  # fmt: skip


def test_where_no_tile_divides_resize_stays_channels_last(exporter: Exporter) -> None:
    nodes = list(onnx.load(str(exporter(output_size=(37, 53)).path)).graph.node)
    start = next(i for i, node in enumerate(nodes) if "scores" in node.input)
    assert [node.op_type for node in nodes[start:]] == ["Transpose", "Resize", "ArgMax", "Cast"]


def test_a_graph_without_this_head_is_left_alone(exporter: Exporter) -> None:
    model = onnx.load(str(exporter(head="chain").path))
    before = model.SerializeToString(deterministic=True)
    assert cpu_head(model) is False
    assert model.SerializeToString(deterministic=True) == before
    unresized, _ = graph_from_checkpoint(tiny_checkpoint(), target(output_size=(10, 14)))
    assert cpu_head(unresized) is False
