"""The convolutions of a network alone, as ONNX Runtime computes them in it: a cut of its graph.

ONNX Runtime's optimised graph is left with its convolutions only (fused activations and sums and
blocked layouts included, since they are part of the same operators). What a convolution read from
any other operator becomes an input, fed with the very values that the whole network had there. So
nothing but convolutions is timed, with the profiler off.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from artoolkit.backends.onnxruntime.session import Session, open_session
from artoolkit.cost.roofline import PARTS
from artoolkit.spec import SessionOptions

Feeds = dict[str, NDArray[Any]]


def convolutions_alone(
    model: Path, image: NDArray[np.uint8], folder: Path, options: SessionOptions
) -> Callable[[], object]:
    """A call that computes every convolution of `model` once; writes files to `folder`."""
    optimised = folder / "optimised.onnx"
    open_session(model, chosen=options, optimised=optimised)
    graph = onnx.load(optimised)
    feeds = values_of(graph, borders(graph.graph), image, folder)
    session = _opened(cut(graph, feeds), folder / "convolutions.onnx", options).session
    # Every convolution runs, whichever result is asked for; the last is the smallest to copy.
    last = session.get_outputs()[-1].name
    return lambda: session.run([last], feeds)


def convolutions(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    return [node for node in graph.node if node.op_type in PARTS["convolutions"]]


def borders(graph: onnx.GraphProto) -> list[str]:
    """Tensors that convolutions read from other operators, in the order in which they read it."""
    constants = {initializer.name for initializer in graph.initializer}
    found = convolutions(graph)
    own = {name for node in found for name in node.output}
    read = (name for node in found for name in node.input if name)
    return list(dict.fromkeys(name for name in read if name not in own | constants))


def values_of(
    model: onnx.ModelProto, names: list[str], image: NDArray[np.uint8], folder: Path
) -> Feeds:
    """The values of inner tensors in one run on `image`, as they are laid out there."""
    asked = onnx.ModelProto.FromString(model.SerializeToString())
    del asked.graph.output[:]
    asked.graph.output.extend(_float_value(name) for name in names)
    session = _opened(asked, folder / "borders.onnx", SessionOptions()).session
    values = session.run(names, {session.get_inputs()[0].name: image})
    return dict(zip(names, values, strict=True))


def cut(model: onnx.ModelProto, feeds: Feeds) -> onnx.ModelProto:
    """The convolutions alone: inputs for `feeds`, outputs for what no convolution reads."""
    found = convolutions(model.graph)
    read = {name for node in found for name in node.input}
    graph = helper.make_graph(
        found,
        "convolutions",
        [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
            )
            for name, value in feeds.items()
        ],
        [_float_value(name) for node in found for name in node.output if name not in read],
        [tensor for tensor in model.graph.initializer if tensor.name in read],
    )
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


def _float_value(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)


def _opened(model: onnx.ModelProto, path: Path, options: SessionOptions) -> Session:
    onnx.save(model, path)
    return open_session(path, chosen=options)
