"""ONNX Runtime: inner tensors, settings, optimised graphs, and every way not to open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from tiny import tiny_bundle
from tiny_networks import TRAINED, write_tiny

from artoolkit.backends import open_runner
from artoolkit.backends.onnxruntime import BACKEND as OnnxRuntime
from artoolkit.backends.onnxruntime.runner import open_onnxruntime, optimised_graph
from artoolkit.errors import BackendError
from artoolkit.graph.identity import compare_graphs
from artoolkit.spec import SessionOptions
from artoolkit.words import Precision

IMAGES = np.random.default_rng(0).integers(0, 256, (1, 32, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With inferred shapes inside, as exported files have them."""
    path = write_tiny(tmp_path_factory.mktemp("model") / "tiny.onnx")
    graph = onnx.shape_inference.infer_shapes(onnx.load(str(path)))
    onnx.save(graph, str(path))
    return path


def test_an_inner_tensor_can_be_asked_for_and_the_file_stays(model: Path) -> None:
    before = model.read_bytes()
    inner = next(n.output[0] for n in onnx.load(str(model)).graph.node if n.name == "stem")
    with open_onnxruntime(model, outputs=("labels", inner), threads=1) as runner:
        outputs = runner.infer(IMAGES)
    assert list(outputs) == ["labels", inner]
    assert outputs[inner].shape == (1, 8, 16, 32) == runner.spec.outputs[1].shape
    with open_onnxruntime(model, threads=1) as plain:
        np.testing.assert_array_equal(plain.infer(IMAGES)["labels"], outputs["labels"])
    assert model.read_bytes() == before


def test_the_settings_in_effect_are_recorded(model: Path) -> None:
    with open_onnxruntime(model, threads=2) as runner:
        settings = runner.spec.settings
    assert settings["intra_op_threads"] == 2
    assert settings["providers"] == ["CPUExecutionProvider"]
    assert settings["version"] == onnxruntime.__version__
    with open_onnxruntime(model) as runner:
        assert runner.spec.settings["intra_op_threads"] >= 1


def test_chosen_options_are_in_effect_and_threads_go_before_them(model: Path) -> None:
    chosen = SessionOptions(threads=1, spinning=False, cpu_arena=False, memory_pattern=False)
    with open_onnxruntime(model, chosen=chosen) as runner:
        settings = runner.spec.settings
    names = ("intra_op_threads", "spinning", "cpu_arena", "memory_pattern")
    assert [settings[name] for name in names] == [1, False, False, False]
    with open_onnxruntime(model, chosen=chosen, threads=2) as runner:
        assert runner.spec.settings["intra_op_threads"] == 2
    with open_onnxruntime(model, threads=1) as runner:
        assert [runner.spec.settings[name] for name in names] == [1, True, True, True]


def test_threads_chosen_on_a_larger_machine_are_as_many_as_the_cores_here(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("artoolkit.backends.onnxruntime.session.usable_cores", lambda: 1)
    with open_onnxruntime(model, chosen=SessionOptions(threads=64)) as runner:
        settings = runner.spec.settings
    assert settings["intra_op_threads"] == 1
    assert settings["intra_op_threads_chosen"] == "64, more than the cores here"
    with open_onnxruntime(model, chosen=SessionOptions(threads=1)) as runner:
        assert "intra_op_threads_chosen" not in runner.spec.settings


def test_the_optimised_graph_is_the_same_each_time(model: Path, tmp_path: Path) -> None:
    # Names and order of initialisers change from run to run; values and program do not.
    first, second, wider = (
        onnx.load(str(optimised_graph(source, tmp_path / f"{index}.onnx", threads=1)))
        for index, source in enumerate((model, model, write_tiny(tmp_path / "pool.onnx", pool=5)))
    )
    assert compare_graphs(first, second, (), ()) == ()
    assert "attribute kernel_shape" in {d.what for d in compare_graphs(first, wider, (), ())}
    fused = {node.op_type for node in first.graph.node}
    assert fused != {node.op_type for node in onnx.load(str(model)).graph.node}


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("gpu", "no such device; got gpu"),
        ("cuda:x", "no such device; got cuda:x"),
        pytest.param(
            "0",
            "cannot use 0.*expected CUDAExecutionProvider.*artoolkit\\[cu13\\]",
            marks=pytest.mark.skipif(
                "CUDAExecutionProvider" in onnxruntime.get_available_providers(),
                reason="this build has CUDA",
            ),
        ),
    ],
)
def test_a_device_that_is_not_there_is_refused(model: Path, device: str, message: str) -> None:
    with pytest.raises(BackendError, match=message):
        open_onnxruntime(model, device=device)


def test_a_device_that_would_be_replaced_in_silence_is_refused(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OnCpu(onnxruntime.InferenceSession):
        def __init__(self, source: str, options: object, providers: list[str]) -> None:
            super().__init__(source, options, providers=["CPUExecutionProvider"])

    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: both)
    monkeypatch.setattr(onnxruntime, "InferenceSession", OnCpu)
    with pytest.raises(BackendError, match="cannot use cuda:0 here; got CPUExecutionProvider"):
        open_onnxruntime(model, device="cuda:0")


@pytest.mark.parametrize(
    ("device", "precision", "names"),
    [
        ("cuda:1", "fp32", ["CUDAExecutionProvider", "CPUExecutionProvider"]),
        ("1", "tf32", ["CUDAExecutionProvider", "CPUExecutionProvider"]),
        (
            "tensorrt:1", "fp16",
            ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"],
        ),
    ],
)  # fmt: skip
def test_the_second_gpu_falls_back_to_itself_and_tf32_is_asked_for(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    device: str, precision: Precision, names: list[str],
) -> None:  # fmt: skip
    asked: list[tuple[str, dict[str, str]]] = []

    def open_nothing(source: str, options: object, providers: list[tuple[str, Any]]) -> None:
        asked.extend(providers)
        raise RuntimeError("no GPU")

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names)
    monkeypatch.setattr(onnxruntime, "InferenceSession", open_nothing)
    with pytest.raises(BackendError, match="no GPU"):
        open_onnxruntime(model, device=device, precision=precision)
    assert [name for name, _ in asked] == names
    options = dict(asked)
    assert {options[name]["device_id"] for name in names[:-1]} == {"1"}
    cuda = options["CUDAExecutionProvider"]
    assert cuda["use_tf32"] == ("1" if precision == "tf32" else "0")
    assert cuda["cudnn_conv_algo_search"] == "HEURISTIC", "one search for both arms"
    if tensorrt := options.get("TensorrtExecutionProvider"):
        assert (tensorrt["trt_fp16_enable"], tensorrt["trt_int8_enable"]) == ("1", "0")
        assert Path(tensorrt["trt_engine_cache_path"]).parent == Path(
            tensorrt["trt_timing_cache_path"]
        )


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def _not_onnx(path: Path) -> None:
    path.write_text("no graph")


def _missing(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("break_file", [_truncated, _not_onnx, _missing])
@pytest.mark.parametrize("outputs", [("labels",), ("labels", "scores")])
def test_a_broken_file_is_one_line_that_names_it(
    model: Path, tmp_path: Path, break_file: object, outputs: tuple[str, ...]
) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(model.read_bytes())
    break_file(path)  # type: ignore[operator]
    with pytest.raises(BackendError, match=r"broken\.onnx") as caught:
        open_onnxruntime(path, outputs=outputs)
    assert "\n" not in str(caught.value)


def test_an_output_that_is_not_there_is_named(model: Path) -> None:
    with pytest.raises(BackendError, match="no tensor called depth"):
        open_onnxruntime(model, outputs=("labels", "depth"))


def test_a_graph_without_static_shapes_is_refused(model: Path, tmp_path: Path) -> None:
    graph = onnx.load(str(model))
    graph.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    del graph.graph.value_info[:]
    path = tmp_path / "dynamic.onnx"
    onnx.save(graph, str(path))
    with pytest.raises(BackendError, match="image has no static shape"):
        open_onnxruntime(path)


def test_two_models_are_the_same_program_where_only_their_weights_differ(tmp_path: Path) -> None:
    one, other = (write_tiny(tmp_path / f"{seed}.onnx", seed=seed) for seed in (0, 1))
    found = OnnxRuntime().compare_programs(one, other, device="cpu")
    assert found.result == "PASS" and found.numbers["nodes"] > 1
    longer = onnx.load(str(other))
    longer.graph.node[-1].output[0] = "before"
    longer.graph.node.append(onnx.helper.make_node("Add", ["before", "before"], ["labels"]))
    onnx.save(longer, str(other))
    found = OnnxRuntime().compare_programs(one, other, device="cpu")
    assert found.result == "FAIL" and found.numbers["differences"]


def test_a_precision_that_a_backend_lacks_is_refused_by_name(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "b", precision="bf16")
    for name in ("onnxruntime", "tensorrt"):
        with pytest.raises(BackendError, match=r"does not compute in bf16.*expected fp32, tf32"):
            open_runner(bundle, backend=name)


def test_equal_weights_that_are_held_once_are_no_other_program(tmp_path: Path) -> None:
    """Biases of a baseline that was never trained are all zero; two of a size become one."""

    def zero(name: str, values: np.ndarray) -> np.ndarray:
        return np.zeros_like(values) if name.endswith("bias") else values

    fresh = write_tiny(tmp_path / "fresh.onnx", change=zero, classes=8)
    trained = write_tiny(tmp_path / "trained.onnx", seed=1, classes=8)
    other = write_tiny(tmp_path / "other.onnx", seed=1, classes=8, pool=5)
    for names in (TRAINED, None):
        same = OnnxRuntime().compare_programs(fresh, trained, device="cpu", trained=names)
        assert same.result == "PASS"
        assert "held once" in same.headline
        different = OnnxRuntime().compare_programs(fresh, other, device="cpu", trained=names)
        assert different.result == "FAIL"
