"""Contents of a `tensorrt` engine, as its inspector tells them: layers, tactics, formats, memory.

The inspector's JSON has two schemas: TensorRT 10 lists `Bindings` and joins `Format/Datatype`, 11
lists `I/O Tensors` and has `Format` and `DataType`. Only plans with detailed profiling verbosity
tell more than names, which is how artoolkit builds them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from artoolkit.backends.tensorrt.library import open_library
from artoolkit.backends.tensorrt.loaded import Deserialised
from artoolkit.errors import EngineError

# Numbers that the compiler gives to what it makes itself; they count up over a process's life.
_GENERATED = re.compile(r"(__my[le]n?\w*?|Reformatting CopyNode|\(Unnamed Layer\* )\d+")
_NO_SUBSTANCE = ("Name", "Metadata", "Inputs", "Outputs", "TacticName", "TacticValue", "LayerType")


@dataclass(frozen=True)
class Layer:
    """One layer; `tensors` are "dims format" of its inputs, then "->", then of its outputs."""

    name: str
    kind: str
    tactic: str
    tensors: str
    parameters: str

    def difference(self, other: Layer) -> str | None:
        """Difference from the other layer, or None. A name tells what was fused."""
        for what in ("name", "kind", "tactic", "tensors", "parameters"):
            mine, its = getattr(self, what), getattr(other, what)
            if mine != its:
                return f"{self.name}: {what} {mine or 'none'!s:.120} against {its or 'none'!s:.120}"
        return None


@dataclass(frozen=True)
class PlanLayers:
    """A plan as its inspector tells it; bytes of device memory for one execution context."""

    layers: tuple[Layer, ...]
    io: tuple[str, ...]
    device_memory_bytes: int

    def difference(self, other: PlanLayers) -> str | None:
        """The first difference in words, or None."""
        for index, (mine, its) in enumerate(zip_longest(self.layers, other.layers)):
            if mine is None or its is None:
                count = f"{len(self.layers)} layers against {len(other.layers)}"
                return f"{count}, from layer {index} ({(mine or its).name})"
            if found := mine.difference(its):
                return f"layer {index}, {found}"
        if self.io != other.io:
            return f"inputs and outputs {self.io} against {other.io}"
        if self.device_memory_bytes != other.device_memory_bytes:
            memory = f"{self.device_memory_bytes:,} against {other.device_memory_bytes:,} bytes"
            return f"device memory {memory}"
        return None


def layers_from_json(text: str, *, device_memory_bytes: int) -> PlanLayers:
    """Read the inspector's JSON of either schema; `EngineError` where it tells names only."""
    try:
        report = json.loads(text)
        layers = tuple(_layer(layer) for layer in report["Layers"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EngineError(
            "the engine inspector tells no details of this plan",
            hint="Build it with artoolkit build: other plans may lack detailed verbosity.",
        ) from error
    io = report.get("I/O Tensors", report.get("Bindings", []))
    names = tuple(_io_tensor(tensor) for tensor in io)
    return PlanLayers(layers, names, device_memory_bytes)


def _io_tensor(tensor: Any) -> str:
    if isinstance(tensor, str):
        return tensor
    return f"{tensor['Name']} {tensor.get('DataType', '')} {tensor.get('Dimensions', '')}"


def _layer(layer: Mapping[str, Any]) -> Layer:
    inputs, outputs = (
        ", ".join(_tensor(tensor) for tensor in layer.get(side, ()))
        for side in ("Inputs", "Outputs")
    )
    rest = {key: value for key, value in layer.items() if key not in _NO_SUBSTANCE}
    tactic = " ".join(str(layer[key]) for key in ("TacticName", "TacticValue") if key in layer)
    return Layer(
        name=_GENERATED.sub(r"\1#", str(layer["Name"])),
        kind=str(layer.get("LayerType", "")),
        tactic=_GENERATED.sub(r"\1#", tactic),
        tensors=f"{inputs} -> {outputs}",
        parameters=_GENERATED.sub(r"\1#", json.dumps(rest, sort_keys=True)),
    )


def _tensor(tensor: Mapping[str, Any]) -> str:
    # TensorRT 10 writes "Format/Datatype", some releases "Format/DataType", 11 two fields.
    joined = tensor.get("Format/Datatype", tensor.get("Format/DataType"))
    form = joined or f"{tensor.get('Format', '')} {tensor.get('DataType', '')}"
    return f"{tensor.get('Dimensions', '')} {form} {tensor.get('Location', '')}".strip()


def inspect_plan(plan: Path) -> PlanLayers:
    """Deserialise a `tensorrt` plan of this machine's own and ask its inspector. Needs a GPU."""
    library = open_library("tensorrt", "inspecting an engine")
    engine = Deserialised(library, plan).engine
    inspector = engine.create_engine_inspector()
    text = inspector.get_engine_information(library.module.LayerInformationFormat.JSON)
    return layers_from_json(text, device_memory_bytes=int(engine.device_memory_size_v2))


def refit_plan(plan: Path, onnx: Path) -> str | None:
    """Put the weights of `onnx` into a refittable plan: None where all went in, else why not.

    A diagnostic only: it shows that the plan has a place for every weight, not that a build of
    `onnx` would pick the same tactics.
    """
    library = open_library("tensorrt", "refitting an engine")
    return Deserialised(library, plan).refit(onnx.read_bytes())
