"""One form for graphs that are the same program, whatever their tensors and nodes are called.

Nodes stand in the order of a depth-first walk from the outputs along the ordered inputs; names play
no part in it. Two graphs have equal forms exactly if an order-preserving one-to-one map between
their nodes exists: a sum computed once and used twice is not a sum computed twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

_SHOWN = 8


@dataclass(frozen=True)
class Source:
    """Source of a node's input.

    `kind`: "step" (`number` is the step, `text` its output), "input" (`number`), "trained" (type
    and shape in `text`, `number` counts the weights in order of first use), "constant" (values in
    `text`), "outer" (a value of the graph around a subgraph) or "nothing".
    """

    kind: str
    text: str = ""
    number: int = 0

    def __str__(self) -> str:
        numbered = f" {self.number}" if self.kind in ("step", "input") else ""
        return f"{self.kind}{numbered} {self.text}".rstrip()


@dataclass(frozen=True)
class Step:
    """One node. `name` is for people and takes no part in any comparison."""

    name: str
    operator: str
    attributes: Mapping[str, str]
    inputs: tuple[Source, ...]
    outputs: int


class CanonicalGraph:
    """The canonical form of `graph`: `steps`, `outputs`, and the operators nothing depends on.

    `trained` names the initialisers whose values do not matter.
    """

    def __init__(
        self,
        graph: onnx.GraphProto,
        trained: Collection[str],
        parent: CanonicalGraph | None = None,
    ) -> None:
        self._trained, self._parent = trained, parent
        self._inputs = {value.name: index for index, value in enumerate(graph.input)}
        self._constants = {i.name: i for i in graph.initializer}
        self._nodes = list(graph.node)
        self._makers = {
            name: (index, output)
            for index, node in enumerate(self._nodes)
            for output, name in enumerate(node.output)
            if name
        }
        self._numbers: dict[int, int] = {}
        self._weights: dict[str, int] = {}
        self.steps: list[Step] = []
        for value in graph.output:
            self._walk(value.name)
        self.outputs = tuple(self._source(value.name) for value in graph.output)
        self.unused = tuple(
            sorted(n.op_type for i, n in enumerate(self._nodes) if i not in self._numbers)
        )

    def _walk(self, name: str) -> None:
        """Number every node that `name` depends on, inputs first; by a stack, graphs are deep."""
        stack = [(name, False)]
        while stack:
            value, inputs_done = stack.pop()
            if value not in self._makers:
                if self._parent is not None and value not in self._constants:
                    self._parent._walk(value)
                continue
            index, _ = self._makers[value]
            if index in self._numbers:
                continue
            node = self._nodes[index]
            if inputs_done:
                step = self._step(node)
                self._numbers[index] = len(self.steps)
                self.steps.append(step)
            else:
                stack.append((value, True))
                stack.extend((source, False) for source in reversed(node.input))

    def _step(self, node: onnx.NodeProto) -> Step:
        attributes = {a.name: self._attribute(a) for a in node.attribute}
        return Step(
            name=node.name or node.output[0],
            operator=f"{node.domain}.{node.op_type}".lstrip("."),
            attributes=attributes,
            inputs=tuple(self._source(name) for name in node.input),
            outputs=len(node.output),
        )

    def _source(self, name: str) -> Source:
        if name in self._makers:
            index, output = self._makers[name]
            return Source("step", f"output {output}" if output else "", self._numbers[index])
        if name in self._constants:
            return self._initialiser(self._constants[name])
        if name in self._inputs:
            return Source("input", number=self._inputs[name])
        if name and self._parent is not None:
            return Source("outer", str(self._parent._source(name)))
        return Source("nothing", name)

    def _initialiser(self, tensor: onnx.TensorProto) -> Source:
        if tensor.name not in self._trained:
            return Source("constant", described(tensor))
        kind = f"{numpy_helper.to_array(tensor).dtype}{list(tensor.dims)}"
        number = self._weights.setdefault(tensor.name, len(self._weights))
        return Source("trained", kind, number)

    def _attribute(self, attribute: onnx.AttributeProto) -> str:
        if attribute.type == onnx.AttributeProto.GRAPH:
            return self._subgraph(attribute.g)
        value = helper.get_attribute_value(attribute)
        if isinstance(value, onnx.TensorProto):
            return described(value)
        if isinstance(value, bytes):
            return value.decode(errors="backslashreplace")
        # A damaged file may have an attribute of no type, and so of no value.
        return str(value if isinstance(value, (int, float, type(None))) else list(value))

    def _subgraph(self, graph: onnx.GraphProto) -> str:
        inner = CanonicalGraph(graph, self._trained, self)
        steps = [(s.operator, sorted(s.attributes.items()), s.inputs) for s in inner.steps]
        return f"{steps} {inner.outputs} {inner.unused}"


def described(tensor: onnx.TensorProto) -> str:
    """Type, shape and every value of a constant; long ones by their hash and first values."""
    array: NDArray[Any] = np.ascontiguousarray(numpy_helper.to_array(tensor))
    values = ", ".join(str(value) for value in array.ravel()[:_SHOWN])
    if array.size > _SHOWN:
        values += f", ... (sha256 {hashlib.sha256(array.tobytes()).hexdigest()[:16]})"
    return f"{array.dtype}{list(tensor.dims)} = {values}"
