"""Layers brought to ONNX Runtime's blocked layout on a CPU, with the values they had.

ONNX Runtime computes convolutions on blocks of channels (NCHWc) and adds a residual inside the
convolution before it, but only where all that is added is blocked already. Two things of a network
are not: a Resize to a smaller map, after which every sum becomes two layout changes, an Add and a
ReLU; and the matrix products of pyramid pooling. A pooling of one position passes its input on
unchanged and is an operator that ONNX Runtime blocks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import onnx
from onnx import helper

POOLED_PROJECTION = "pooled.projected"


def keep_blocked(model: onnx.ModelProto) -> int:
    """Put a MaxPool of one position behind every Resize that a Conv and an Add read, in place.

    Returns how many; no value of the graph changes.
    """
    graph = model.graph
    readers: dict[str, set[str]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, set()).add(node.op_type)
    found = [
        node
        for node in graph.node
        if node.op_type == "Resize" and {"Conv", "Add"} <= readers.get(node.output[0], set())
    ]
    for node in found:
        name = node.output[0]
        node.output[0] = f"{name}.planar"
        graph.node.insert(_after(graph, node), _blocked(node.output[0], name))
    return len(found)


@dataclass(frozen=True)
class _Pyramid:
    """conv(x + rows @ (pooled @ columns)): the two products, the sum, and the 1 x 1 convolution."""

    products: tuple[onnx.NodeProto, onnx.NodeProto]
    add: onnx.NodeProto
    conv: onnx.NodeProto

    @property
    def own(self) -> str:
        """What the pooled maps are added to."""
        last = self.products[1].output[0]
        return str(next(name for name in self.add.input if name != last))


def project_pyramid(model: onnx.ModelProto, trained: Collection[str]) -> int:
    """Project pooled maps before they are resized, in place; returns for how many pyramids.

    A 1 x 1 convolution and a resize are linear and commute: `conv(x + R p C)` is
    `conv(x) + R conv(p) C` up to rounding, the bias added once. The resized maps have the channels
    after the convolution then, and their sum is added inside it. `trained` initialisers are no
    constants of a resize.
    """
    graph = model.graph
    found = list(_pyramids(graph, trained))
    for one in found:
        _project(graph, one)
    return len(found)


def _pyramids(graph: onnx.GraphProto, trained: Collection[str]) -> Iterator[_Pyramid]:
    constants = {i.name for i in graph.initializer} - set(trained)
    makers = {name: node for node in graph.node for name in node.output}
    uses = Counter(name for node in graph.node for name in node.input)
    for conv in graph.node:
        add = makers.get(conv.input[0]) if _is_projection(graph, conv) else None
        if add is None or add.op_type != "Add" or uses[add.output[0]] != 1:
            continue
        for name in add.input:
            last = makers.get(name)
            first = _product(makers, last, constants, side=0)
            if last is None or first is None or _product(makers, first, constants, side=1) is None:
                continue
            if uses[last.output[0]] == uses[first.output[0]] == 1:
                yield _Pyramid((first, last), add, conv)
                break


def _product(
    makers: dict[str, onnx.NodeProto],
    node: onnx.NodeProto | None,
    constants: Collection[str],
    *,
    side: int,
) -> onnx.NodeProto | None:
    """What a MatMul with a constant on this `side` multiplies, or None where it is no such one."""
    if node is None or node.op_type != "MatMul" or node.input[side] not in constants:
        return None
    return makers.get(node.input[1 - side])


def _is_projection(graph: onnx.GraphProto, node: onnx.NodeProto) -> bool:
    if node.op_type != "Conv":
        return False
    (weight,) = [i for i in graph.initializer if i.name == node.input[1]] or [None]
    whole = {a.name: list(a.ints) or [a.i] for a in node.attribute if a.name != "auto_pad"}
    ones = all(set(values) == {0 if name == "pads" else 1} for name, values in whole.items())
    return weight is not None and list(weight.dims[2:]) == [1, 1] and ones


def _project(graph: onnx.GraphProto, one: _Pyramid) -> None:
    first, last = one.products
    conv, out = one.conv, one.conv.output[0]
    pooled = helper.make_node(
        "Conv", [first.input[0], conv.input[1]], [f"{out}.{POOLED_PROJECTION}"], kernel_shape=[1, 1]
    )
    graph.node.insert(_after(graph, first) - 1, pooled)
    first.input[0] = pooled.output[0]
    conv.input[0], conv.output[0] = one.own, f"{out}.own"
    graph.node.remove(one.add)
    blocked = _blocked(last.output[0], f"{out}.context")
    total = helper.make_node("Add", [conv.output[0], blocked.output[0]], [out], f"{out}.sum")
    place = _after(graph, conv)
    for offset, node in enumerate((blocked, total)):
        graph.node.insert(place + offset, node)


def _blocked(source: str, name: str) -> onnx.NodeProto:
    return helper.make_node("MaxPool", [source], [name], f"{name}.blocked", kernel_shape=[1, 1])


def _after(graph: onnx.GraphProto, node: onnx.NodeProto) -> int:
    return next(i for i, other in enumerate(graph.node) if other is node) + 1
