"""Forms of a deployed graph that a runtime prefers, derived from the plain one by named passes.

`model.onnx` of a bundle is the plain graph: Cast, Transpose, normalise, network, Resize, ArgMax,
Cast. A form is made from it where an engine is built or a compiled program is compared, is listed
beside the engine, and is never undone. Needs onnx, not torch.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from artoolkit.errors import EngineError
from artoolkit.evidence.seal import write_atomically
from artoolkit.graph.onnx_file import load_onnx
from artoolkit.optional import require

if TYPE_CHECKING:
    import onnx

_SEEDING = "comparing programs apart from their weights"
_EXPORT_AGAIN = "Export it again: earlier versions put forms of a backend into model.onnx."


def write_seeded(onnx_path: Path, trained: Collection[str], out: Path) -> None:
    """`onnx_path` with other trained parameters at `out`: the same for the same names and shapes.

    No compiler can merge or fold them by their values. Floats lie between 0.5 and 1.5 (a variance
    has to be positive), whole numbers anywhere.
    """
    onnx = require("onnx", _SEEDING)
    model = load_onnx(onnx_path, _SEEDING)
    for tensor in model.graph.initializer:
        if tensor.name in trained:
            array = onnx.numpy_helper.to_array(tensor)
            rng = np.random.default_rng(zlib.crc32(tensor.name.encode()))
            if array.dtype.kind == "f":
                values = 0.5 + rng.random(array.shape)
            else:
                values = rng.integers(0, 128, array.shape)
            seeded = np.asarray(values, array.dtype)
            tensor.CopyFrom(onnx.numpy_helper.from_array(seeded, tensor.name))
    onnx.save(model, out)


def write_form(model: Path, forms: Collection[str], out: Path) -> None:
    """Derive `forms` from the plain graph in `model`, in order, and write the result to `out`.

    Raises `EngineError` for a graph that is not the plain one, `StorageError`.
    """
    loaded = load_onnx(model, "deriving a form of the graph")
    images = {value.name for value in loaded.graph.input}
    for node in loaded.graph.node:
        # Bytes are transposed faster than floats on a CPU, but no engine transposes them.
        if node.op_type == "Transpose" and node.input[0] in images:
            raise EngineError(f"{model} moves the channels of bytes", hint=_EXPORT_AGAIN)
    try:
        for form in forms:
            FORMS[form](loaded)
    except EngineError as error:
        raise EngineError(f"{model}: {error.what}", hint=error.hint) from error
    write_atomically(out, loaded.SerializeToString(deterministic=True))


def chain_head(model: onnx.ModelProto) -> None:
    """Unroll, in place, the ArgMax over N x C x H x W scores into compare-and-select over C.

    TensorRT compiles the chain to one kernel, without the full-size scores that an ArgMax reads. A
    class must be strictly above the best so far to take its place, so the first maximum wins as in
    ArgMax. The index is counted in float32: TensorRT documents the conversion to uint8 from float
    alone. Raises `EngineError` where the graph does not end in an ArgMax over classes.
    """
    import onnx

    graph, helper = model.graph, onnx.helper
    makers = {name: node for node in graph.node for name in node.output}
    labels = graph.output[0].name
    argmax, gone = makers[labels], [makers[labels]]
    while argmax.op_type == "Cast":
        argmax = makers[argmax.input[0]]
        gone.append(argmax)
    axes = {a.name: helper.get_attribute_value(a) for a in argmax.attribute}
    if argmax.op_type != "ArgMax" or (axes.get("axis"), axes.get("keepdims")) != (1, 0):
        raise EngineError("its labels come from no ArgMax over classes", hint=_EXPORT_AGAIN)
    (scores,) = argmax.input
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph.value_info
    kind = next(value for value in inferred if value.name == scores).type.tensor_type
    classes = kind.shape.dim[1].dim_value
    if classes == 1:
        return  # nothing to select from
    nodes, constants = _chain(scores, labels, classes, graph.output[0].type.tensor_type.elem_type)
    for node in gone:
        graph.node.remove(node)
    graph.node.extend(nodes)
    graph.initializer.extend(onnx.numpy_helper.from_array(v, n) for n, v in constants.items())


def _chain(
    scores: str, labels: str, classes: int, labels_type: int
) -> tuple[list[onnx.NodeProto], dict[str, NDArray[Any]]]:
    """The nodes from `scores` to `labels`, and their constants by name."""
    import onnx

    def node(operator: str, inputs: list[str], *outputs: str, **more: Any) -> onnx.NodeProto:
        return onnx.helper.make_node(operator, inputs, outputs, outputs[0], **more)

    constants = {"chain.ones": np.ones(classes, np.int64), "chain.axis": np.array([1])}
    constants |= {f"chain.class{c}": np.array(c, np.float32) for c in range(classes)}
    planes = [f"chain.plane{c}" for c in range(classes)]
    nodes = [node("Split", [scores, "chain.ones"], *planes, axis=1)]
    best, index = planes[0], "chain.class0"
    for c, plane in enumerate(planes[1:], start=1):
        nodes += [
            node("Greater", [plane, best], f"chain.above{c}"),
            node("Where", [f"chain.above{c}", f"chain.class{c}", index], f"chain.index{c}"),
            node("Max", [plane, best], f"chain.best{c}"),
        ]
        best, index = f"chain.best{c}", f"chain.index{c}"
    nodes[-1:] = [  # in the place of the last Max, which nothing reads
        node("Squeeze", [index, "chain.axis"], "chain.index"),
        node("Cast", ["chain.index"], labels, to=labels_type),
    ]
    return nodes, constants


FORMS: dict[str, Callable[[onnx.ModelProto], None]] = {"chain": chain_head}
