"""Opening bundles and foreign ONNX files, and what they are fed."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tiny import HEIGHT, WIDTH, write_tiny

from artoolkit.backends import backend_for
from artoolkit.backends.onnxruntime.runner import open_onnxruntime
from artoolkit.cost.opening import feeds_for, model_at, read_feeds, seeded_feeds
from artoolkit.errors import BackendError, DataError
from artoolkit.evidence.bundle import Bundle
from artoolkit.spec import RunnerSpec, TensorSpec


def write_foreign(path: Path, batch: int | str = 2) -> Path:
    """Two inputs of different types, one output."""
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["ids"], ["f"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["x", "f"], ["y"]),
        ],
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3]),
            helper.make_tensor_value_info("ids", TensorProto.INT64, [batch, 3]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 3])],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path
    )
    return path


def test_a_bundle_is_fed_its_golden_images(baseline: Bundle) -> None:
    model = model_at(baseline.path)
    with closing(backend_for(model).open(model, device="cpu", threads=1)) as runner:
        batch = feeds_for(model, runner.spec)
        assert batch.shape == (1, HEIGHT, WIDTH, 3)
        labels = runner.infer(batch)["labels"]
    assert np.array_equal(labels, baseline.golden()["labels"][:1])


def test_a_foreign_file_is_fed_by_name_from_a_seed(tmp_path: Path) -> None:
    path = write_foreign(tmp_path / "m.onnx")
    with closing(backend_for(path, "onnxruntime").open(path, device="cpu")) as runner:
        feeds = feeds_for(path, runner.spec, seed=3)
        assert feeds["x"].dtype == np.float32
        assert feeds["ids"].dtype == np.int64
        assert runner.infer(feeds)["y"] == pytest.approx(feeds["x"] * feeds["ids"])
        again = seeded_feeds(runner.spec, np.random.default_rng(3))
    assert all(np.array_equal(again[name], feeds[name]) for name in feeds)


def test_an_input_that_no_memory_holds_is_refused() -> None:
    size = (1, 3, 99_999_999_999, 8)
    spec = RunnerSpec(backend="onnxruntime", device="cpu", outputs=(),
                      inputs=(TensorSpec(name="x", dtype="float32", shape=size),))  # fmt: skip
    with pytest.raises(DataError, match="input x of 1 x 3 x 99999999999 x 8 is too large"):
        seeded_feeds(spec, np.random.default_rng(0))


def test_inputs_from_a_file_must_fit(tmp_path: Path) -> None:
    runner = open_onnxruntime(write_foreign(tmp_path / "m.onnx"))
    good = {"x": np.zeros((2, 3), np.float32), "ids": np.ones((2, 3), np.int64)}
    np.savez(tmp_path / "good.npz", **good)
    assert read_feeds(tmp_path / "good.npz", runner.spec).keys() == good.keys()
    np.savez(tmp_path / "few.npz", x=good["x"])
    with pytest.raises(DataError, match="does not hold the graph's inputs; got x; expected ids, x"):
        read_feeds(tmp_path / "few.npz", runner.spec)
    np.savez(tmp_path / "wide.npz", **(good | {"x": np.zeros((2, 4), np.float32)}))
    with pytest.raises(DataError, match=r"x does not fit; got float32 \(2, 4\)"):
        read_feeds(tmp_path / "wide.npz", runner.spec)
    (tmp_path / "bad.npz").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"bad\.npz cannot be read: File is not a zip file"):
        read_feeds(tmp_path / "bad.npz", runner.spec)


def test_a_foreign_file_that_cannot_run_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="no static shape"):
        open_onnxruntime(write_foreign(tmp_path / "dynamic.onnx", batch="n"))
    with pytest.raises(BackendError, match="no ONNX file at"):
        open_onnxruntime(tmp_path / "missing.onnx")
    runner = open_onnxruntime(write_tiny(tmp_path / "m.onnx"))
    with pytest.raises(BackendError, match="got uint8 1x2x2x3"):
        runner.infer({"image": np.zeros((1, 2, 2, 3), np.uint8)})
    runner.close()
    with pytest.raises(BackendError, match="was closed"):
        runner.infer({})
