"""What only a real GPU can show; `pytest -m gpu` lists and runs these and the other ones."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from engine_bundles import tiny_bundle, tiny_target

from artoolkit.backends.tensorrt import loaded
from artoolkit.backends.tensorrt.cuda import open_cuda
from artoolkit.backends.tensorrt.cuda.driver import driver_gpus
from artoolkit.backends.tensorrt.cuda.self_test import self_test
from artoolkit.backends.tensorrt.loader import build_engine, options_for
from artoolkit.backends.tensorrt.runner import open_tensorrt
from artoolkit.cost.accelerator import device_memory, open_nvml
from artoolkit.optional import is_installed

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not driver_gpus(), reason="needs an NVIDIA GPU"),
]


def test_driver_and_runtime_describe_the_same_gpus() -> None:
    for gpu in driver_gpus():
        with closing(open_cuda(f"cuda:{gpu.index}")) as cuda:
            found = cuda.gpu
        # The two write the PCI domain with another number of digits.
        assert found.pci_bus_id.lower().endswith(gpu.pci_bus_id.lower()[-10:])
        assert (found.identity, found.multiprocessors) == (gpu.identity, gpu.multiprocessors)


def test_memory_copies_events_and_a_graph() -> None:
    assert "ms" in self_test()


def test_nvml_finds_the_gpu_by_its_bus_and_counts_its_memory() -> None:
    pytest.importorskip("pynvml")
    nvml = open_nvml("cuda:0")
    assert nvml is not None
    assert nvml.identity()["gpu"]
    before = device_memory("cuda:0")["NVML, all processes"]
    with closing(open_cuda("cuda:0")) as cuda:
        pointer = cuda.alloc(1 << 28)
        assert device_memory("cuda:0")["NVML, all processes"] - before >= 1 << 28
        cuda.free(pointer)


@pytest.mark.skipif(not is_installed("tensorrt_rtx"), reason="tensorrt-rtx is not installed")
def test_rtx_keeps_its_kernels_and_tells_stages_and_layers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loaded, "CACHE", tmp_path / "cache")
    bundle = tiny_bundle(tmp_path, tiny_target("rtx-40"))
    build_engine(bundle, options_for(bundle.manifest.target, compute_capabilities=()))
    image = np.zeros((1, *bundle.manifest.target.imgsz, 3), np.uint8)
    for cuda_graph in (False, True):
        with open_tensorrt(bundle, cuda_graph=cuda_graph) as runner:
            runner.keep_stages()
            runner.infer(image)
            assert set(runner.stages_ms) == {"h2dMs", "computeMs", "d2hMs"}
            assert cuda_graph or runner.layer_times(image, 2)
    assert list((tmp_path / "cache").iterdir())
