"""A segmentation network of three convolutions, written as ONNX by hand, for tests of engines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

TRAINED = ("stem.weight", "stem.bias", "body.weight", "body.bias", "head.weight", "head.bias")
Change = Callable[[str, np.ndarray], np.ndarray]


def write_tiny(
    path: Path,
    *,
    seed: int = 0,
    size_hw: tuple[int, int] = (32, 64),
    half: bool = False,
    pool: int = 3,
    head: str = "argmax",
    classes: int = 4,
    int8: bool = False,
    change: Change | None = None,
) -> Path:
    """Write the network with random weights; `change` maps a weight's name and values to others.

    `int8`: the middle convolution between Q/DQ nodes, its weights int8.
    """
    dtype = np.float16 if half else np.float32
    rng = np.random.default_rng(seed)
    shapes = {
        "stem.weight": (8, 3, 3, 3), "stem.bias": (8,), "body.weight": (8, 8, 3, 3),
        "body.bias": (8,), "head.weight": (classes, 8, 1, 1), "head.bias": (classes,),
    }  # fmt: skip
    weights = {name: rng.normal(0, 0.3, shape).astype(dtype) for name, shape in shapes.items()}
    if change is not None:
        weights = {name: change(name, value) for name, value in weights.items()}
    constants = weights | {
        "mean": np.array([123, 116, 103], dtype).reshape(1, 3, 1, 1),
        "std": np.array([58, 57, 57], dtype).reshape(1, 3, 1, 1),
        "scales": np.array([1, 1, 4, 4], np.float32),
    }
    nodes = _body(TensorProto.FLOAT16 if half else TensorProto.FLOAT, pool)
    nodes += _argmax() if head == "argmax" else _chain(classes, constants, dtype)
    if int8:
        nodes = _quantised(nodes, constants)
    return _save(path, nodes, constants, size_hw)


def _body(kind: int, pool: int) -> list[onnx.NodeProto]:
    node = helper.make_node
    side = [(pool - 1) // 2] * 4
    return [
        node("Cast", ["image"], ["float"], name="cast", to=kind),
        node("Transpose", ["float"], ["planes"], name="transpose", perm=[0, 3, 1, 2]),
        node("Sub", ["planes", "mean"], ["centred"], name="centre"),
        node("Div", ["centred", "std"], ["normal"], name="scale"),
        node("Conv", ["normal", "stem.weight", "stem.bias"], ["a"], name="stem",
             kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
        node("Relu", ["a"], ["b"], name="stem.relu"),
        node("MaxPool", ["b"], ["c"], name="pool", kernel_shape=[pool] * 2, strides=[2, 2],
             pads=side),
        node("Conv", ["c", "body.weight", "body.bias"], ["d"], name="body", kernel_shape=[3, 3],
             pads=[1] * 4),
        node("Relu", ["d"], ["e"], name="body.relu"),
        node("Conv", ["e", "head.weight", "head.bias"], ["scores"], name="head"),
        node("Resize", ["scores", "", "scales"], ["full"], name="resize", mode="linear",
             coordinate_transformation_mode="half_pixel"),
    ]  # fmt: skip


def _quantised(
    nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray]
) -> list[onnx.NodeProto]:
    weights = constants["body.weight"]
    scale = np.abs(weights).max((1, 2, 3)) / 127
    constants["body.weight"] = np.round(weights / scale.reshape(-1, 1, 1, 1)).astype(np.int8)
    constants["body.scale"] = scale.astype(np.float32)
    constants["body.zero"] = np.zeros(len(scale), np.int8)
    constants["c.scale"], constants["c.zero"] = np.float32(0.05), np.int8(0)
    node, place = helper.make_node, next(i for i, n in enumerate(nodes) if n.name == "body")
    nodes[place].input[0], nodes[place].input[1] = "c.float", "body.float"
    wrap = [
        node("QuantizeLinear", ["c", "c.scale", "c.zero"], ["c.int8"], name="c.quantise"),
        node("DequantizeLinear", ["c.int8", "c.scale", "c.zero"], ["c.float"], name="c.dequantise"),
        node("DequantizeLinear", ["body.weight", "body.scale", "body.zero"], ["body.float"],
             name="body.dequantise", axis=0),
    ]  # fmt: skip
    return [*nodes[:place], *wrap, *nodes[place:]]


def _argmax() -> list[onnx.NodeProto]:
    return [
        helper.make_node("ArgMax", ["full"], ["index"], name="argmax", axis=1, keepdims=0),
        helper.make_node("Cast", ["index"], ["labels"], name="labels", to=TensorProto.UINT8),
    ]


def _chain(
    classes: int, constants: dict[str, np.ndarray], dtype: type[np.generic]
) -> list[onnx.NodeProto]:
    node = helper.make_node
    planes = [f"plane{c}" for c in range(classes)]
    nodes = [node("Split", ["full"], planes, name="split", axis=1, num_outputs=classes)]
    best, index = planes[0], "class0"
    constants["class0"] = np.zeros((1, 1, 1, 1), dtype)
    for c in range(1, classes):
        constants[f"class{c}"] = np.full((1, 1, 1, 1), c, dtype)
        nodes += [
            node("Greater", [planes[c], best], [f"above{c}"], name=f"above{c}"),
            node("Where", [f"above{c}", f"class{c}", index], [f"index{c}"], name=f"where{c}"),
            node("Max", [planes[c], best], [f"best{c}"], name=f"max{c}"),
        ]
        best, index = f"best{c}", f"index{c}"
    constants["axis"] = np.array([1], np.int64)
    return [
        *nodes,
        node("Squeeze", [index, "axis"], ["flat"], name="squeeze"),
        node("Cast", ["flat"], ["labels"], name="labels", to=TensorProto.UINT8),
    ]


def _save(
    path: Path,
    nodes: list[onnx.NodeProto],
    constants: Mapping[str, np.ndarray],
    size_hw: tuple[int, int],
) -> Path:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, *size_hw, 3])],
        [helper.make_tensor_value_info("labels", TensorProto.UINT8, [1, *size_hw])],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path
