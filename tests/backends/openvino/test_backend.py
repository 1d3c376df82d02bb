"""OpenVINO: the same labels, programs that can be told apart, and what it cannot do by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny import HEIGHT, WIDTH, tiny_bundle, write_tiny
from tiny_networks import write_tiny as write_network

from artoolkit.backends import backend_for, backend_named, open_runner
from artoolkit.errors import BackendError
from artoolkit.evidence.bundle import Bundle
from artoolkit.optional import is_installed
from artoolkit.targets import find_target

pytestmark = pytest.mark.skipif(not is_installed("openvino"), reason="openvino is not installed")
CPU = {"backend": "openvino", "device": "cpu"}


@pytest.fixture(scope="module")
def capabilities() -> list[str]:
    import openvino

    found: list[str] = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return found


def test_a_bundle_gives_its_golden_labels(baseline: Bundle) -> None:
    golden = baseline.golden()
    with open_runner(baseline, **CPU, threads=1) as runner:
        assert runner.spec.settings["inference_num_threads"] == 1
        assert runner.spec.settings["inference_precision_hint"] == "float32"
        for image, expected in zip(golden["images"], golden["labels"], strict=True):
            labels = runner.infer(image[None])["labels"]
            assert np.array_equal(labels[0], expected)
            assert labels.dtype == np.uint8
        first = runner.infer(golden["images"][:1])["labels"]
        kept = first.copy()
        runner.infer(golden["images"][1:2])
        assert np.array_equal(first, kept), "an output belongs to the caller"


def test_the_other_form_of_input_and_output_keeps_its_names(tmp_path: Path) -> None:
    """OpenVINO makes one tensor of an index and its Cast to int32, and merges their names."""
    made = tiny_bundle(tmp_path / "b", layout="nchw_float32", labels_dtype="int32")
    golden = made.golden()
    with open_runner(made, **CPU, threads=1) as runner:
        assert (*runner.spec.inputs, *runner.spec.outputs) == made.manifest.target.tensors
        labels = runner.infer(golden["images"][:1])["labels"]
    assert np.array_equal(labels, golden["labels"][:1])


def test_a_tensor_inside_the_graph_is_an_output_where_it_is_asked_for(baseline: Bundle) -> None:
    openvino, runtime = (backend_named(name) for name in ("openvino", "onnxruntime"))
    images = baseline.golden()["images"][:1]
    found = []
    for one in (openvino, runtime):
        with one.open(baseline, device="cpu", threads=1, outputs=("scores", "labels")) as runner:
            assert [tensor.name for tensor in runner.spec.outputs] == ["scores", "labels"]
            found.append(runner.infer(images))
    np.testing.assert_allclose(found[0]["scores"], found[1]["scores"], atol=1e-5)
    with pytest.raises(BackendError, match="no tensor called nothing"):
        openvino.open(baseline, device="cpu", outputs=("nothing",))


def test_bf16_is_another_arithmetic_and_int8_takes_it_for_the_rest(
    tmp_path: Path, capabilities: list[str]
) -> None:
    bundle = tiny_bundle(tmp_path / "b", backend="openvino", precision="bf16")
    if "BF16" not in capabilities:
        with pytest.raises(BackendError, match=r"does not compute in bf16.*expected BF16"):
            open_runner(bundle)
        pytest.skip("this processor has no bf16")
    golden = bundle.golden()
    with open_runner(bundle) as runner:
        assert runner.spec.settings["inference_precision_hint"] == "bfloat16"
        labels = [runner.infer(image[None])["labels"][0] for image in golden["images"]]
    assert (np.stack(labels) == golden["labels"]).mean() > 0.97
    mixed = tiny_bundle(
        tmp_path / "m", backend="openvino", precision="int8", float_precision="bf16"
    )
    with open_runner(mixed) as runner:
        assert runner.spec.settings["precision"] == "int8"
        assert runner.spec.settings["inference_precision_hint"] == "bfloat16"
    with pytest.raises(BackendError, match="ONNX Runtime does not compute in bf16"):
        open_runner(mixed, backend="onnxruntime")


def test_two_checkpoints_are_one_program_and_another_network_is_not(
    baseline: Bundle, candidate: Bundle, tmp_path: Path
) -> None:
    backend = backend_named("openvino")
    same = backend.compare_programs(baseline, candidate, device="cpu")
    assert same.result == "PASS", same.details
    assert same.numbers["layers"] > 2
    other = tiny_bundle(tmp_path / "other", extra_node=True)
    found = backend.compare_programs(baseline, other, device="cpu")
    assert found.result == "FAIL"
    assert found.details
    assert len(found.headline) <= 80


def test_memory_is_of_the_graph_and_the_same_every_time(
    baseline: Bundle, candidate: Bundle
) -> None:
    backend = backend_named("openvino")
    source, one = backend.memory(baseline, device="cpu")
    assert "runtime graph" in source
    assert backend.memory(candidate, device="cpu")[1] == one
    assert one.weights_bytes >= 3 * 3 * 3 * 3 * 4
    assert one.io_bytes == HEIGHT * WIDTH * (3 + 1)
    scores = HEIGHT * WIDTH * 3 * 4
    assert scores <= one.activations_bytes <= 10 * scores


def test_a_file_of_anybody_runs_on_feeds(tmp_path: Path) -> None:
    model = write_network(tmp_path / "any.onnx")
    runner = backend_named("openvino").open(model, device="cpu", threads=1)
    reference = backend_for(model).open(model, device="cpu", threads=1)
    tensor = runner.spec.inputs[0]
    feeds = {
        tensor.name: np.random.default_rng(0).integers(0, 255, tensor.shape).astype(tensor.dtype)
    }
    ours, theirs = runner.infer(feeds), reference.infer(feeds)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        np.testing.assert_allclose(value, theirs[name], atol=1e-4)
    runner.close()
    with pytest.raises(BackendError, match="was closed"):
        runner.infer(feeds)


@pytest.mark.parametrize(
    ("device", "words"), [("gpu", "cannot use gpu here; got cpu"), ("npu:0", "cannot use npu.0")]
)
def test_a_device_that_is_not_there_is_named(baseline: Bundle, device: str, words: str) -> None:
    with pytest.raises(BackendError, match=words):
        open_runner(baseline, backend="openvino", device=device)


def test_a_file_that_is_no_graph_is_one_line(tmp_path: Path) -> None:
    backend = backend_named("openvino")
    with pytest.raises(BackendError, match="no ONNX file at"):
        backend.open(tmp_path / "x.onnx", device="cpu")
    (tmp_path / "x.onnx").write_bytes(b"no graph")
    with pytest.raises(BackendError) as error:
        backend.open(tmp_path / "x.onnx", device="cpu")
    assert "\n" not in str(error.value)
    dynamic = write_tiny(tmp_path / "d.onnx")
    import onnx

    graph = onnx.load(dynamic)
    graph.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "height"
    onnx.save(graph, dynamic)
    with pytest.raises(BackendError, match="no static shape"):
        backend.open(dynamic, device="cpu")


def test_the_targets_are_there_and_say_what_never_ran() -> None:
    assert find_target("intel-cpu").backend == "openvino"
    for name in ("intel-gpu", "intel-npu"):
        assert "never run" in find_target(name).description


def test_every_layer_is_timed_and_its_macs_are_counted(baseline: Bundle) -> None:
    images = baseline.golden()["images"][:1]
    threads, layers = backend_named("openvino").profile(baseline, images, threads=1)
    assert threads == 1
    assert sum(layer.milliseconds for layer in layers) > 0
    (convolution,) = (layer for layer in layers if layer.kind == "Convolution")
    # Three channels from three, 3 x 3 (ONNX Runtime pads them to sixteen, and counts those).
    assert convolution.macs == 3 * HEIGHT * WIDTH * 3 * 9
