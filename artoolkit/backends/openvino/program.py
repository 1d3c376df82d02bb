"""The program that OpenVINO compiled: layers, primitives, precisions and layouts, in order.

`get_runtime_model` tells what really runs. Two checkpoints of one network have the same program
where every layer has the same kind, primitive, precision, layout, shapes and sources, and was made
of operators of the same kinds; names are left out, since OpenVINO counts them up over a process.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from artoolkit.backends.openvino.loader import Compiled
from artoolkit.graph.memory import MemoryComponents

RUNTIME_SOURCE = "the ONNX file and OpenVINO's runtime graph: constants, peak of living tensors"
_KEYS = (
    "layerType", "primitiveType", "runtimePrecision", "outputPrecisions", "outputLayouts",
    "originalLayersNames",
)  # fmt: skip
_NUMBER = re.compile(r"_\d+")
# They hold data, and do no work in an inference.
_DATA = ("Const", "Input", "Output")


@dataclass(frozen=True)
class Layer:
    """A layer of the runtime graph; `sources` are places of other layers in its order.

    `operators` are the kinds of those that it was made of: a fused activation shows there alone.
    """

    name: str
    kind: str
    operators: tuple[str, ...]
    primitive: str
    precision: str
    output_precisions: str
    layouts: str
    shapes: tuple[tuple[int, ...], ...]
    output_bytes: int
    sources: tuple[int, ...]

    def facts(self) -> tuple[Any, ...]:
        """All that a program consists of: everything but the name."""
        return (
            self.kind, self.operators, self.primitive, self.precision, self.output_precisions,
            self.layouts, self.shapes, self.sources,
        )  # fmt: skip

    def __str__(self) -> str:
        shape = " and ".join("x".join(map(str, one)) for one in self.shapes)
        return f"{self.kind} {self.name} [{self.primitive}, {self.precision}, {shape}]"


def layers_of(compiled: Compiled) -> list[Layer]:
    """The layers of a compiled model in a topological order of its runtime graph."""
    nodes = compiled.model.get_runtime_model().get_ordered_ops()
    places = {node.get_friendly_name(): place for place, node in enumerate(nodes)}
    return [_layer(node, places, compiled.operators) for node in nodes]


def _layer(node: Any, places: dict[str, int], operators: dict[str, str]) -> Layer:
    info = node.get_rt_info()
    kind, primitive, precision, output_precisions, layouts, made_of = (
        info[key].astype(str) if key in info else "" for key in _KEYS
    )
    outputs = node.outputs()
    return Layer(
        name=node.get_friendly_name(),
        kind=kind,
        # What OpenVINO added itself is called by its kind and a count.
        operators=tuple(
            sorted(
                operators.get(name, _NUMBER.sub("", name))
                for name in made_of.split(",")
                if kind not in _DATA
            )
        ),
        primitive=primitive,
        precision=precision,
        output_precisions=output_precisions,
        layouts=layouts,
        shapes=tuple(tuple(port.shape) for port in outputs),
        output_bytes=sum(math.prod(port.shape) * port.get_element_type().size for port in outputs),
        sources=tuple(
            places[port.get_source_output().get_node().get_friendly_name()]
            for port in node.inputs()
        ),
    )


def differences(baseline: list[Layer], candidate: list[Layer]) -> list[str]:
    """Every layer in which two programs differ, in words."""
    found = [
        f"{one} -> {other}"
        for one, other in zip(baseline, candidate, strict=False)
        if one.facts() != other.facts()
    ]
    if len(baseline) != len(candidate):
        found.append(f"{len(baseline)} layers -> {len(candidate)}")
    return found


def work(layers: list[Layer]) -> int:
    """Number of layers that compute in an inference."""
    return sum(layer.kind not in _DATA for layer in layers)


def made_once(layers: list[Layer]) -> list[bool]:
    """For each layer whether it is a constant, or made of constants when the model is compiled."""
    found: list[bool] = []
    for layer in layers:
        folded = bool(layer.sources) and all(found[source] for source in layer.sources)
        found.append(layer.kind == "Const" or folded)
    return found


def runtime_memory(layers: list[Layer], program_bytes: int, io_bytes: int) -> MemoryComponents:
    """Bytes by component: a tensor lives from its layer to the last that reads it."""
    last = list(range(len(layers)))
    for place, layer in enumerate(layers):
        for source in layer.sources:
            last[source] = place
    size = [
        0 if constant or layer.kind in _DATA else layer.output_bytes
        for layer, constant in zip(layers, made_once(layers), strict=True)
    ]
    alive = peak = 0
    for place, layer in enumerate(layers):
        alive += size[place]
        peak = max(peak, alive)
        alive -= sum(size[one] for one in {*layer.sources, place} if last[one] == place)
    return MemoryComponents(
        program_bytes=program_bytes,
        weights_bytes=sum(layer.output_bytes for layer in layers if layer.kind == "Const"),
        activations_bytes=peak,
        io_bytes=io_bytes,
    )
