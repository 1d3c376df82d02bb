"""A builder and an inspector of `tensorrt`, faked: reports as TensorRT 10 and 11 write them."""

from __future__ import annotations

import json
from pathlib import Path

from artoolkit.backends.tensorrt import pair as module
from artoolkit.backends.tensorrt.build import BuiltPlan
from artoolkit.backends.tensorrt.layers import layers_from_json
from artoolkit.backends.tensorrt.library import Library
from artoolkit.backends.tensorrt.options import BuildOptions
from artoolkit.errors import EngineError


def report(major: int = 10, *, tactic: str = "0x1", form: str = "fp16 row", **more) -> str:
    """An inspector's report of a convolution, as TensorRT 10 or 11 writes it."""

    def tensor(name: str, dims: list[int]) -> dict:
        kind = {"Format": form, "DataType": "Half"} if major > 10 else {"Format/Datatype": form}
        return {"Name": name, "Location": "Device", "Dimensions": dims, **kind}

    convolution = {
        "Name": "stem + stem.relu",
        "LayerType": "CaskConvolution",
        "Inputs": [tensor("a", [1, 3, 8, 8])],
        "Outputs": [tensor("b", [1, 8, 4, 4])],
        "ParameterType": "Convolution",
        "Kernel": [3, 3],
        "TacticName": "sm80_xmma_fprop_implicit_gemm",
        "TacticValue": tactic,
        "StreamId": 0,
        "Metadata": "[ONNX Layer: stem]",
    }
    layers = [convolution | more, {**convolution, "Name": "__mye12_head", "LayerType": "kgen"}]
    if major > 10:
        io = {"I/O Tensors": [{"Name": "image", "DataType": "UInt8", "Dimensions": [1, 8, 8, 3]}]}
    else:
        io = {"Bindings": ["image", "labels"]}
    return json.dumps({"Layers": layers, **io})


def read(text: str, memory: int = 100):
    return layers_from_json(text, device_memory_bytes=memory)


class FakeMachine:
    """A builder and an inspector: one report a build, in order, by arm; an error is raised."""

    def __init__(self, monkeypatch, baseline: list, candidate: list) -> None:
        self.reports = {"baseline": iter(baseline), "candidate": iter(candidate)}
        self.built: list[tuple[str, BuildOptions]] = []
        monkeypatch.setattr(module, "build_in_process", self.build)
        monkeypatch.setattr(module, "inspect_plan", self.inspect)
        library = Library("tensorrt", None, "10.3.0")
        monkeypatch.setattr(module, "open_library", lambda *_: library)

    def build(self, onnx: Path, plan: Path, options: BuildOptions, **_):
        self.built.append((plan.stem, options))
        arm = plan.stem.partition("-")[0]
        self.current = next(self.reports[arm]) if arm in self.reports else None
        if isinstance(self.current, EngineError):
            raise self.current
        return BuiltPlan(
            library_version="10.3.0", plan_bytes=1000, activation_bytes=1, weights_bytes=1,
            seconds=1.0, flags=(),
        )  # fmt: skip

    def inspect(self, plan: Path):
        return read(self.current)
