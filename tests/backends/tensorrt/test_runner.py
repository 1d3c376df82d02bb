"""The runner on a faked GPU, and on a real one where there is one."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from engine_bundles import SIZE_HW, tiny_bundle, tiny_target
from fake_gpu import FakeCuda, FakeTensorrt, Flag
from sidecars import write_plan

from artoolkit.backends.tensorrt import loaded
from artoolkit.backends.tensorrt.cuda import device_index, open_cuda
from artoolkit.backends.tensorrt.loader import build_engine, options_for
from artoolkit.backends.tensorrt.runner import open_plan, open_tensorrt
from artoolkit.errors import BackendError, EngineError, MissingLibraryError, UsageError
from artoolkit.evidence.bundle import Bundle
from artoolkit.optional import is_installed


def images(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (1, *SIZE_HW, 3), dtype=np.uint8)


@pytest.fixture
def bundle(tmp_path) -> Bundle:
    return tiny_bundle(tmp_path, tiny_target("jetson-orin-nx"))


@pytest.fixture
def gpu(monkeypatch):
    """Install a faked GPU with TensorRT 10.3, and give back its CUDA and its TensorRT."""

    def install(*, module="tensorrt", version="10.3.0", cuda=None, **faults):
        cuda = cuda or FakeCuda()
        trt = FakeTensorrt(cuda, version=version, **faults)
        monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", cuda)
        monkeypatch.setitem(sys.modules, module, trt)
        return cuda, trt

    return install


def test_labels_come_back_and_everything_is_given_back(gpu, bundle):
    cuda, trt = gpu()
    write_plan(bundle)
    with open_tensorrt(bundle) as runner:
        for seed in (0, 1):
            labels = runner.infer(images(seed))["labels"]
            assert np.array_equal(labels, images(seed)[..., 0] % 4)
        assert runner.spec.inputs[0].shape == (1, *SIZE_HW, 3)
        assert runner.spec.settings["activation_bytes"] == 12345
        assert runner.spec.settings["provider"] == "cuda-bindings"
    assert trt.loaded == 1
    assert not cuda.memory and not cuda.host and not cuda.streams
    with pytest.raises(BackendError, match="was closed"):
        runner.infer(images())
    runner.close()


def test_outputs_belong_to_the_caller(gpu, bundle):
    gpu()
    write_plan(bundle)
    with open_tensorrt(bundle) as runner:
        first = runner.infer(images(0))["labels"]
        kept = first.copy()
        runner.infer(images(1))
        assert np.array_equal(first, kept)


def test_with_a_cuda_graph_the_same_labels(gpu, bundle):
    cuda, _ = gpu()
    write_plan(bundle)
    with open_tensorrt(bundle, cuda_graph=True) as runner:
        assert len(cuda.graphs) == 1 and runner.spec.settings["cuda_graph"]
        assert np.array_equal(runner.infer(images(3))["labels"], images(3)[..., 0] % 4)
    assert not cuda.graphs and not cuda.memory


def test_a_caller_with_a_clock_takes_the_steps_apart(gpu, bundle):
    gpu()
    write_plan(bundle)
    with open_tensorrt(bundle) as runner:
        begin, end = runner.cuda.event(), runner.cuda.event()
        runner.upload(images(2))
        runner.cuda.record(begin, runner.stream)
        runner.enqueue()
        runner.cuda.record(end, runner.stream)
        assert np.array_equal(runner.download()["labels"], images(2)[..., 0] % 4)
        assert runner.cuda.elapsed_ms(begin, end) == 5.0
        free, total = runner.cuda.memory_info()
        assert total - free == images().nbytes + images()[..., 0].nbytes


def test_images_of_another_size_are_refused(gpu, bundle):
    gpu()
    write_plan(bundle)
    with open_tensorrt(bundle) as runner, pytest.raises(BackendError, match="1x32x64x3"):
        runner.infer(np.zeros((1, 8, 8, 3), np.uint8))


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ({"deserialize": "magic tag"}, r"cannot be loaded: magic tag\. Rebuild it here"),
        ({"context": "out of memory"}, r"no room on the GPU: out of memory\. Free the GPU"),
        ({"shape": (-1, 32, 64, 3)}, r"tensor image of .* has no static shape"),
        ({"dtype": FakeTensorrt.DataType.FP8}, "a type that numpy lacks"),
    ],
)
def test_an_engine_that_cannot_be_used_says_why(gpu, bundle, faults, message):
    gpu(**faults)
    write_plan(bundle)
    with pytest.raises(EngineError, match=message):
        open_tensorrt(bundle)


def test_a_run_that_fails_is_an_error(gpu, bundle):
    gpu(execute="illegal address")
    write_plan(bundle)
    with open_tensorrt(bundle) as runner, pytest.raises(BackendError, match="illegal address"):
        runner.infer(images())


def test_too_little_memory_is_an_error_that_leaks_nothing(gpu, bundle):
    cuda, _ = gpu(cuda=FakeCuda(room=7000))
    write_plan(bundle)
    with pytest.raises(BackendError, match=r"cudaMalloc failed: words for 2 .*memory is used up"):
        open_tensorrt(bundle)
    assert not cuda.memory and not cuda.host and not cuda.streams


def test_without_a_driver_one_line_says_so(gpu, bundle):
    gpu(cuda=FakeCuda(driver=False))
    write_plan(bundle)
    with pytest.raises(BackendError, match=r"cudaErrorInsufficientDriver.*no NVIDIA driver"):
        open_tensorrt(bundle)


def test_a_bundle_without_an_engine_says_how_to_build_it(gpu, bundle):
    gpu()
    with pytest.raises(EngineError, match=r"no engine for tensorrt\. Rebuild it here: artoolkit b"):
        open_tensorrt(bundle)


def test_nothing_is_deserialised_where_the_plan_was_changed(gpu, bundle):
    _, trt = gpu()
    plan = write_plan(bundle)
    content = bytearray(plan.read_bytes())
    content[100] ^= 1
    plan.write_bytes(content)
    with pytest.raises(EngineError, match="was changed"):
        open_tensorrt(bundle)
    assert trt.loaded == 0


def test_the_engine_that_fits_is_taken_among_several(gpu, bundle):
    gpu()
    write_plan(bundle, name="a", library_version="10.13.0", gpu="Thor")
    right = write_plan(bundle, name="b")
    write_plan(bundle, name="c", library="tensorrt-rtx", library_version="1.7")
    with open_tensorrt(bundle) as runner:
        assert runner.spec.settings["plan"] == right.name


def test_rtx_judges_portable_plans_itself(gpu, bundle):
    validity = FakeTensorrt.EngineValidity
    write_plan(
        bundle, library="tensorrt-rtx", library_version="1.7",
        compute_capabilities=("portable",), gpu=None,
    )  # fmt: skip
    gpu(module="tensorrt_rtx", version="1.7", validity=(validity.SUBOPTIMAL, 0))
    with open_tensorrt(bundle, library="tensorrt-rtx") as runner:
        assert runner.spec.settings["validity"] == "SUBOPTIMAL"
    _, trt = gpu(
        module="tensorrt_rtx", version="1.7", validity=(validity.INVALID, Flag.UNSUPPORTED_CC)
    )
    with pytest.raises(EngineError, match=r"invalid on this GPU; got UNSUPPORTED_CC\. Rebuild"):
        open_tensorrt(bundle, library="tensorrt-rtx")
    assert trt.loaded == 0


def test_devices_and_providers():
    assert [device_index(d) for d in ("cuda", "cuda:2", "dla:1")] == [0, 2, 0]
    with pytest.raises(UsageError, match="needs an NVIDIA GPU; got cpu"):
        device_index("cpu")
    if not is_installed("pycuda"):
        with pytest.raises(MissingLibraryError, match=r'pip install "artoolkit\[pycuda\]"'):
            open_cuda("cuda:0", "pycuda")


def test_a_gpu_that_is_not_there_is_named(gpu):
    gpu()
    with pytest.raises(BackendError, match="no such GPU; got cuda:3; expected one of 1"):
        open_cuda("cuda:3")


def _real_gpu() -> bool:
    try:
        open_cuda("cuda:0").close()
    except (BackendError, MissingLibraryError):
        return False
    return True


@pytest.mark.gpu
@pytest.mark.parametrize("library", ["tensorrt", "tensorrt-rtx"])
def test_a_real_engine_runs_like_onnxruntime(tmp_path: Path, library):
    if not _real_gpu():
        pytest.skip("there is no NVIDIA GPU with a driver")
    if not is_installed(library.replace("-", "_")):
        pytest.skip(f"{library} is not installed")
    from artoolkit.backends.onnxruntime.runner import open_onnxruntime

    target = tiny_target("rtx-40", compute_capabilities=(), tensorrt=">=10.3,<12")
    bundle = tiny_bundle(tmp_path, target)
    engine = build_engine(bundle, options_for(target, library=library))
    with open_onnxruntime(bundle.model) as reference:
        expected = reference.infer(images())["labels"]
    for cuda_graph in (False, True):
        with open_plan(engine.plan, library=library, cuda_graph=cuda_graph) as runner:
            labels = runner.infer(images())["labels"]
        assert (labels == expected).mean() > 0.999


def test_stages_by_events_and_layers_by_the_profiler(gpu, bundle):
    cuda, _ = gpu()
    write_plan(bundle)
    with open_tensorrt(bundle) as runner:
        runner.infer(images())
        assert runner.stages_ms == {}
        runner.keep_stages()
        runner.infer(images())
        assert runner.stages_ms == {"h2dMs": 0.0, "computeMs": 5.0, "d2hMs": 0.0}
        assert runner.layer_times(images(), 2) == {"conv": [3.0, 3.0], "argmax": [2.0, 2.0]}
    assert not cuda.memory and not cuda.streams


def test_rtx_keeps_the_kernels_that_it_compiled(gpu, tmp_path, monkeypatch):
    monkeypatch.setattr(loaded, "CACHE", tmp_path / "cache")
    bundle = tiny_bundle(tmp_path, tiny_target("rtx-40"))
    write_plan(bundle, library="tensorrt-rtx")
    _, trt = gpu(module="tensorrt_rtx")
    trt.kernels = b"compiled"
    with open_tensorrt(bundle) as runner:
        runner.infer(images())
    (kept,) = (tmp_path / "cache").iterdir()
    assert kept.read_bytes() == b"compiled"
    trt.kernels = None
    with open_tensorrt(bundle):
        assert trt.kernels == b"compiled"


def test_a_runtime_that_raises_is_told_in_one_line(gpu, bundle):
    gpu(runtime="no driver")
    write_plan(bundle)
    with pytest.raises(EngineError, match="tensorrt's runtime does not start"):
        open_tensorrt(bundle)


def test_a_bundle_of_another_backend_says_what_would_run(gpu, tmp_path):
    gpu(module="tensorrt_rtx")
    bundle = tiny_bundle(tmp_path, tiny_target("cpu"))
    with pytest.raises(EngineError, match="not made for tensorrt-rtx") as caught:
        open_tensorrt(bundle, library="tensorrt-rtx")
    assert "artoolkit build" not in str(caught.value)
