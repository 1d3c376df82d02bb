"""The driver through ctypes, faked; an Orin by its board; libraries that the driver cannot run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from artoolkit.backends.tensorrt import fit
from artoolkit.backends.tensorrt.cuda import Gpu, interface
from artoolkit.backends.tensorrt.cuda.driver import driver_gpus, driver_version
from artoolkit.errors import EngineError


class Driver:
    """libcuda of two cards, as ctypes calls it; attributes are by cuda.h's numbers."""

    attributes = {16: 128, 18: 0, 75: 8, 76: 9}

    def cuDriverGetVersion(self, version: Any) -> int:
        version._obj.value = 12060
        return 0

    def cuDeviceGetCount(self, count: Any) -> int:
        count._obj.value = 2
        return 0

    def cuDeviceGet(self, device: Any, index: int) -> int:
        device._obj.value = index + 10
        return 0

    def cuDeviceGetName(self, name: Any, size: int, device: Any) -> int:
        name.value = b"NVIDIA GeForce RTX 4090"
        return 0

    def cuDeviceGetPCIBusId(self, bus: Any, size: int, device: Any) -> int:
        bus.value = f"0000:{device.value:02d}:00.0".encode()
        return 0

    def cuDeviceTotalMem_v2(self, size: Any, device: Any) -> int:
        size._obj.value = 24 << 30
        return 0

    def cuDeviceGetAttribute(self, value: Any, number: int, device: Any) -> int:
        value._obj.value = self.attributes[number]
        return 0


def test_gpus_in_cudas_order_with_the_bus_that_nvml_knows() -> None:
    first, second = driver_gpus(Driver())
    assert first == Gpu(
        0, "NVIDIA GeForce RTX 4090", "89", 24 << 30, False, "12.6", 128, "0000:10:00.0"
    )
    assert (second.index, second.pci_bus_id) == (1, "0000:11:00.0")
    assert driver_version(Driver()) == "12.6"


@pytest.mark.parametrize(
    ("board", "sms", "gib", "identity"),
    [
        ("NVIDIA Jetson AGX Orin Developer Kit", 16, 61.4, "16 SMs, 61 GiB"),
        ("NVIDIA Jetson Orin Nano Developer Kit", 8, 7.4, "8 SMs, 7 GiB"),
    ],
)
def test_modules_that_cuda_calls_orin_are_told_apart(
    board: str, sms: int, gib: float, identity: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "model"
    model.write_bytes(board.encode() + b"\0")
    monkeypatch.setattr(interface, "board_model", lambda: interface_model(model))
    gpu = Gpu(0, "Orin", "87", int(gib * 2**30), True, "12.6", sms)
    assert gpu.identity == f"{board}, {identity}"


interface_model = interface.board_model


def installed(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    known = {name.replace("_", "-"): version for name, version in versions.items()}
    monkeypatch.setattr(
        fit.metadata,
        "distributions",
        lambda name: [SimpleNamespace(version=known[name])] if name in known else [],
    )


def test_libraries_newer_than_the_driver_come_with_the_ones_that_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    installed(monkeypatch, cuda_bindings="13.5.0", tensorrt_rtx_cu13="1.7.1.116")
    bindings, rtx = fit.misfits("12.6")
    assert bindings == 'driver 12.6, cuda-bindings 13.5.0: install "cuda-bindings<13"'
    assert "install tensorrt-rtx-cu12 in place of" in rtx
    assert fit.misfits("13.0") == ()
    installed(monkeypatch, cuda_bindings="12.9.1")
    assert fit.misfits("12.6") == ()


def raising(logger: Any) -> Any:
    raise TypeError("pybind11::init(): factory function returned nullptr")


@pytest.mark.parametrize("make", [raising, lambda logger: None])
def test_a_builder_that_does_not_start_names_the_library_to_install(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch, tensorrt_cu13="11.4.0")
    monkeypatch.setattr(fit, "driver_version", lambda: "12.6")
    with pytest.raises(EngineError, match="the builder does not start: CUDA error 35") as caught:
        fit.made(make, SimpleNamespace(errors=["CUDA error 35"]), "the builder")
    assert "tensorrt-cu12" in (caught.value.hint or "")
