"""Bytes that an ONNX graph needs, by component.

Activations are the largest number of bytes that are alive at once when the nodes run in their order
in the file and a tensor lives from the node that makes it to the last that reads it. It is a
property of the graph, the same on every machine; what an arena makes of it is the allocator's
affair.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from artoolkit.errors import UnavailableError
from artoolkit.graph.onnx_file import load_onnx, with_inferred_shapes
from artoolkit.spec import Frozen

if TYPE_CHECKING:
    import onnx

# Source of figures that a compiler told where its program cannot run.
AHEAD_OF_TIME = "the build log of engines compiled ahead of time, which have not run here"
GRAPH_SOURCE = "peak liveness in the ONNX graph"
_HINT = "Say the input's: --shape NAME=1x3x512x1024. Some shapes depend on the data all the same."


class MemoryComponents(Frozen):
    """Bytes: the program's file without its metadata, weights, activations at their peak, I/O."""

    program_bytes: int
    weights_bytes: int
    activations_bytes: int
    io_bytes: int


def _element_bytes(elem_type: int) -> float:
    """Bytes an element of an ONNX type; 0.5 for the packed 4-bit types."""
    import onnx

    name = onnx.TensorProto.DataType.Name(elem_type)
    if name in ("INT4", "UINT4", "FLOAT4E2M1"):
        return 0.5
    if name == "STRING":
        raise UnavailableError("a graph with string tensors has no fixed memory", got=name)
    return float(onnx.helper.tensor_dtype_to_np_dtype(elem_type).itemsize)


def _tensor_bytes(elem_type: int, shape: Iterable[int]) -> int:
    return math.ceil(_element_bytes(elem_type) * math.prod(shape))


def _declared_bytes(value: onnx.ValueInfoProto) -> int:
    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not tensor.HasField("shape"):
        raise UnavailableError(f"the shape of tensor {value.name} is not known", hint=_HINT)
    shape = [dim.dim_value for dim in tensor.shape.dim if dim.HasField("dim_value")]
    if len(shape) != len(tensor.shape.dim):
        raise UnavailableError(f"tensor {value.name} has no static shape", hint=_HINT)
    return _tensor_bytes(tensor.elem_type, shape)


def _sizes(model: onnx.ModelProto) -> dict[str, int]:
    """Bytes of every tensor that nodes make, from the declared or inferred shapes."""
    inferred = with_inferred_shapes(model).graph
    values = [*inferred.input, *inferred.output, *inferred.value_info]
    return {value.name: _declared_bytes(value) for value in values}


def _reads(node: onnx.NodeProto) -> set[str]:
    """Names that a node reads, also from inside its branches and loop bodies."""
    names = {name for name in node.input if name}
    for attribute in node.attribute:
        for body in (attribute.g, *attribute.graphs):
            inner = {name for one in body.node for name in one.output}
            names |= set().union(*(_reads(one) for one in body.node)) - inner
    return names


def peak_activation_bytes(model: onnx.ModelProto) -> int:
    """Most bytes of intermediate tensors alive at once, graph inputs and outputs left out.

    `UnavailableError` where a shape is not static or cannot be inferred.
    """
    graph, sizes = model.graph, _sizes(model)
    outside = {v.name for v in (*graph.input, *graph.output)} | {t.name for t in graph.initializer}
    reads = [_reads(node) - outside for node in graph.node]
    last_use = {name: index for index, names in enumerate(reads) for name in names}
    alive = peak = 0
    for index, node in enumerate(graph.node):
        made = [name for name in node.output if name and name not in outside]
        unknown = [name for name in made if name not in sizes]
        if unknown:
            raise UnavailableError(f"the shape of tensor {unknown[0]} is not known", hint=_HINT)
        alive += sum(sizes[name] for name in made)
        peak = max(peak, alive)
        done = [name for name in reads[index] if last_use[name] == index and name in sizes]
        alive -= sum(sizes[name] for name in done)
        alive -= sum(sizes[name] for name in made if name not in last_use)
    return peak


def _program_bytes(model: onnx.ModelProto) -> int:
    """Bytes of the file without what is no part of the program: names, dates, notes, authors.

    Tensors are numbered in the order in which they appear, subgraphs included.
    """
    numbers: dict[str, str] = {"": ""}

    def numbered(name: str) -> str:
        return numbers.setdefault(name, f"{len(numbers):06d}")

    def bare(graph: onnx.GraphProto) -> None:
        graph.name = graph.doc_string = ""
        for unneeded in (graph.value_info, graph.metadata_props, graph.quantization_annotation):
            del unneeded[:]
        for value in (*graph.input, *graph.output, *graph.initializer):
            value.name, value.doc_string = numbered(value.name), ""
        for tensor in graph.initializer:
            tensor.ClearField("data_location")
        for node in graph.node:
            node.name = node.doc_string = ""
            del node.metadata_props[:]
            node.input[:] = [numbered(name) for name in node.input]
            node.output[:] = [numbered(name) for name in node.output]
            for attribute in node.attribute:
                attribute.doc_string = ""
                for inner in (attribute.g, *attribute.graphs):
                    if inner.node:
                        bare(inner)

    del model.metadata_props[:]
    model.doc_string = model.producer_name = model.producer_version = model.domain = ""
    bare(model.graph)
    return int(model.ByteSize())


def onnx_memory(path: Path) -> MemoryComponents:
    """Components of an ONNX file, from the file alone; `ExportError` if it is not ONNX."""
    model = load_onnx(path, "the memory check")
    initializers = {tensor.name for tensor in model.graph.initializer}
    weights = sum(_tensor_bytes(t.data_type, t.dims) for t in model.graph.initializer)
    io_values = [v for v in model.graph.input if v.name not in initializers]
    activations = peak_activation_bytes(model)
    io_bytes = sum(_declared_bytes(value) for value in (*io_values, *model.graph.output))
    return MemoryComponents(
        program_bytes=_program_bytes(model),
        weights_bytes=weights,
        activations_bytes=activations,
        io_bytes=io_bytes,
    )
