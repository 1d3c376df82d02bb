"""Both providers of device memory do the same; pycuda is faked where it is not installed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from engine_bundles import SIZE_HW, tiny_bundle, tiny_target
from fake_gpu import FakeCuda, FakeTensorrt
from sidecars import write_plan

from artoolkit.backends.tensorrt import loader
from artoolkit.backends.tensorrt.cuda import Cuda, open_cuda, self_test
from artoolkit.backends.tensorrt.runner import open_tensorrt
from artoolkit.cli import main
from artoolkit.errors import BackendError, EngineError, UsageError


class Allocation:
    def __init__(self, pointer: int, cuda: FakeCuda) -> None:
        self.pointer, self.cuda = pointer, cuda

    def __int__(self) -> int:
        return self.pointer

    def free(self) -> None:
        self.cuda.cudaFree(self.pointer)


class PageLocked(np.ndarray):
    """What an array of page-locked memory has as its base."""

    def free(self) -> None:
        self.owner.pinned -= 1


class FakeDriver(ModuleType):
    """Stands for pycuda.driver, on the memory and streams of a `FakeCuda`."""

    class Error(Exception):
        pass

    device_attribute = SimpleNamespace(INTEGRATED="integrated", MULTIPROCESSOR_COUNT="sms")

    def __init__(self, cuda: FakeCuda) -> None:
        super().__init__("pycuda.driver")
        self.cuda, self.contexts, self.pinned = cuda, 0, 0
        self.Device = type("Device", (), {"count": lambda: 1, "__new__": lambda *_: self._device()})

    def init(self) -> None:
        if not self.cuda.driver:
            raise self.Error("cuInit failed: no device")

    def _device(self) -> Any:
        def count(change: int) -> None:
            self.contexts += change

        context = SimpleNamespace(push=lambda: count(1), pop=lambda: count(-1))
        return SimpleNamespace(
            retain_primary_context=lambda: context,
            compute_capability=lambda: (8, 7),
            name=lambda: "Orin",
            total_memory=lambda: 1 << 30,
            get_attribute={"integrated": 1, "sms": 8}.__getitem__,
            pci_bus_id=lambda: "0000:01:00.0",
        )

    def get_driver_version(self) -> int:
        return 12060

    def mem_alloc(self, size: int) -> Any:
        error, pointer = self.cuda.cudaMalloc(size)
        if pointer is None:
            raise self.Error(f"mem_alloc failed: {error.name}")
        return Allocation(pointer, self.cuda)

    def pagelocked_empty(self, shape: tuple[int], dtype: type) -> np.ndarray:
        self.pinned += 1
        allocation = PageLocked(shape, dtype)
        allocation.owner = self
        return allocation.view(np.ndarray)

    def Stream(self, flags: int) -> Any:
        assert flags == 1, "a stream that waits for the default stream is no stream of our own"
        _, handle = self.cuda.cudaStreamCreateWithFlags(flags)
        return SimpleNamespace(
            handle=handle, synchronize=lambda: self.cuda.cudaStreamSynchronize(handle)
        )

    def memcpy_htod_async(self, to: int, array: np.ndarray, stream: Any) -> None:
        self.cuda.cudaMemcpyAsync(to, array.ctypes.data, array.nbytes, "h2d", stream.handle)

    def memcpy_dtoh_async(self, array: np.ndarray, source: int, stream: Any) -> None:
        self.cuda.cudaMemcpyAsync(array.ctypes.data, source, array.nbytes, "d2h", stream.handle)

    def mem_get_info(self) -> tuple[int, int]:
        return self.cuda.cudaMemGetInfo()[1:]

    def Event(self) -> Any:
        event = SimpleNamespace(time=0.0)

        def record(stream: Any) -> None:
            self.cuda.enqueue(stream.handle, lambda: setattr(event, "time", self.cuda.clock_ms))

        event.record = record
        event.time_till = lambda later: later.time - event.time
        return event


@pytest.fixture(params=["cuda-bindings", "pycuda"])
def provider(request, monkeypatch):
    cuda = FakeCuda()
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", cuda)
    package, driver = ModuleType("pycuda"), FakeDriver(cuda)
    package.driver = driver
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.setitem(sys.modules, "pycuda.driver", driver)
    monkeypatch.setitem(sys.modules, "tensorrt", FakeTensorrt(cuda))
    return SimpleNamespace(name=request.param, cuda=cuda, driver=driver)


def test_the_device_is_described_alike(provider):
    cuda = open_cuda("cuda:0", provider.name)
    assert cuda.provider == provider.name
    assert (cuda.gpu.name, cuda.gpu.compute_capability) == ("Orin", "87")
    assert cuda.gpu.identity == "Orin, 8 SMs, 1 GiB"
    assert (cuda.gpu.driver, cuda.gpu.integrated) == ("12.6", True)
    assert cuda.gpu.total_bytes == 1 << 30
    cuda.close()


def test_bytes_go_to_the_device_and_back(provider):
    cuda: Cuda = open_cuda("cuda:0", provider.name)
    stream, pointer = cuda.stream(), cuda.alloc(16)
    there, back = cuda.pinned(16), cuda.pinned(16)
    there[:], back[:] = np.arange(16), 0
    cuda.upload(pointer, there, stream)
    cuda.download(back, pointer, stream)
    assert not back.any(), "copies wait on their stream"
    cuda.synchronize(stream)
    assert np.array_equal(back, there)
    assert cuda.memory_info() == ((1 << 30) - 16, 1 << 30)
    cuda.free(pointer)
    assert cuda.memory_info()[0] == 1 << 30


def test_events_keep_the_gpus_time(provider):
    cuda = open_cuda("cuda:0", provider.name)
    stream, begin, end = cuda.stream(), cuda.event(), cuda.event()
    cuda.record(begin, stream)
    provider.cuda.enqueue(stream, lambda: setattr(provider.cuda, "clock_ms", 7.5))
    cuda.record(end, stream)
    cuda.synchronize(stream)
    assert cuda.elapsed_ms(begin, end) == 7.5
    cuda.free_event(begin)


def test_failures_are_one_line(provider):
    cuda = open_cuda("cuda:0", provider.name)
    with pytest.raises(BackendError, match="cudaErrorMemoryAllocation"):
        cuda.alloc(2 << 30)
    provider.cuda.driver = False
    with pytest.raises(BackendError, match=r"no device|cudaErrorInsufficientDriver"):
        open_cuda("cuda:0", provider.name)


def test_the_runner_works_on_both_and_pycuda_has_no_graphs(provider, tmp_path):
    bundle = tiny_bundle(tmp_path, tiny_target("jetson-orin-nx"))
    write_plan(bundle)
    images = np.random.default_rng(0).integers(0, 256, (1, *SIZE_HW, 3), dtype=np.uint8)
    with open_tensorrt(bundle, cuda_memory=provider.name) as runner:
        assert np.array_equal(runner.infer(images)["labels"], images[..., 0] % 4)
    if provider.name == "pycuda":
        with pytest.raises(BackendError, match="pycuda has no CUDA graphs"):
            open_tensorrt(bundle, cuda_memory="pycuda", cuda_graph=True)
        assert provider.driver.contexts == 0, "the primary context is given back"
    assert not provider.cuda.memory and not provider.driver.pinned


def ran_on(arguments: list[str], out: Path) -> dict[str, Any]:
    """The settings in effect of a benchmark from the command line."""
    quick = ["--warmup-ms", "1", "--duration-s", "0", "--no-memory", "--out", str(out)]
    ran = CliRunner().invoke(main, ["benchmark", *arguments, *quick], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    return json.loads(out.read_text())["runner"]["settings"]


def test_the_command_line_and_the_target_choose_it_and_the_record_says_so(provider, tmp_path):
    others = {"pycuda": "cuda-bindings", "cuda-bindings": "pycuda"}
    target = tiny_target("jetson-orin-nx", cuda_memory=provider.name)
    bundle = tiny_bundle(tmp_path, target)
    write_plan(bundle)
    folder, out = str(bundle.path), tmp_path / "b.json"
    assert ran_on([folder], out)["provider"] == provider.name
    other = others[provider.name]
    assert ran_on([folder, "--cuda-memory", other], out)["provider"] == other
    verified = CliRunner().invoke(main, ["verify", folder, "--cuda-memory", other, "--json"])
    golden = json.loads(verified.stdout)[-1]
    assert golden["name"] == "golden replay" and golden["result"] != "UNAVAILABLE"
    assert provider.driver.contexts == 0, "every primary context was given back"


def test_where_no_engine_runs_there_is_no_choice(tmp_path):
    bundle = tiny_bundle(tmp_path, tiny_target("cpu"))
    ran = CliRunner().invoke(main, ["verify", str(bundle.path), "--cuda-memory", "pycuda"])
    assert ran.exit_code == UsageError.exit_code
    assert "onnxruntime has no option cuda_memory" in ran.stderr


def test_a_build_opens_the_gpu_through_it(provider, tmp_path, monkeypatch):
    asked = []

    def build(*_, **how):
        asked.append(how["cuda_memory"])
        raise EngineError("there is no builder here")

    monkeypatch.setattr(loader, "build_in_process", build)
    bundle = tiny_bundle(tmp_path, tiny_target("jetson-orin-nx"))
    options = loader.options_for(bundle.manifest.target)
    with pytest.raises(EngineError, match="no builder"):
        loader.build_engine(bundle, options, cuda_memory=provider.name)
    assert asked == [provider.name]
    assert provider.driver.contexts == 0


def test_a_call_that_a_capture_forbids_is_an_error_and_spoils_the_graph(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", FakeCuda())
    cuda = open_cuda()
    stream = cuda.stream()
    with pytest.raises(BackendError, match="CaptureInvalidated"):
        cuda.capture(stream, lambda: cuda.free(cuda.alloc(16)))
    assert cuda.capture(stream, lambda: None) is not None


def test_after_an_illegal_address_every_call_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeCuda()
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", fake)
    cuda = open_cuda()
    fake.sticky = True
    for call in (cuda.stream, cuda.memory_info, lambda: cuda.alloc(16)):
        with pytest.raises(BackendError, match="IllegalAddress"):
            call()


def test_the_second_of_two_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeCuda(devices=2)
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", fake)
    assert open_cuda("cuda:1").gpu.pci_bus_id == "00000000:02:00.0"
    assert fake.device == 1
    with pytest.raises(BackendError, match="no such GPU"):
        open_cuda("cuda:2")


def test_the_self_test_tries_memory_copies_events_and_a_graph(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = FakeCuda()
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", fake)
    request = {"device": "cuda:0", "provider": "cuda-bindings"}
    assert "a CUDA graph" in self_test.tested(request, lambda *_: True)["words"]
    assert not fake.memory and not fake.host and not fake.streams
    monkeypatch.setattr(self_test.np, "array_equal", lambda *_: False)
    with pytest.raises(BackendError, match="other bytes"):
        self_test.tested(request, lambda *_: True)
