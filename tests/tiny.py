"""A tiny network as ONNX file and as bundle: uint8 NHWC in, labels out; made with onnx alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from artoolkit.backends.onnxruntime.runner import open_onnxruntime
from artoolkit.evidence.bundle import Bundle, write_bundle
from artoolkit.labels import LabelTable
from artoolkit.preprocess import Preprocess
from artoolkit.spec import Target

HEIGHT, WIDTH, CLASSES = 16, 24, 3
LABELS = LabelTable(
    name="tiny",
    names=tuple("abc"[:CLASSES]),
    colors=((0, 0, 0), (1, 1, 1), (2, 2, 2)),
    file_ids=(0, 1, 2),
)


def write_tiny(
    path: Path, *, seed: int = 0, extra_node: bool = False, factor: float = 1 / 255,
    layout: str = "nhwc_uint8", labels_dtype: str = "uint8",
) -> Path:  # fmt: skip
    """Cast, Transpose, scale by a constant, 3x3 Conv to `CLASSES` scores, ArgMax, Cast."""
    planar = layout == "nchw_float32"
    image = (TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])
    if not planar:
        image = (TensorProto.UINT8, [1, HEIGHT, WIDTH, 3])
    labels = {"uint8": TensorProto.UINT8, "int32": TensorProto.INT32}[labels_dtype]
    random = np.random.default_rng(seed)
    weights = random.normal(0, 1, (CLASSES, 3, 3, 3)).astype(np.float32)
    nodes = [
        *(
            []
            if planar
            else [
                helper.make_node("Cast", ["image"], ["f"], to=TensorProto.FLOAT),
                helper.make_node("Transpose", ["f"], ["t"], perm=[0, 3, 1, 2]),
            ]
        ),
        helper.make_node("Mul", ["image" if planar else "t", "factor"], ["n"]),
        helper.make_node("Conv", ["n", "conv.weight"], ["scores"], pads=[1, 1, 1, 1]),
        *([helper.make_node("Relu", ["scores"], ["r"])] if extra_node else []),
        helper.make_node("ArgMax", ["r" if extra_node else "scores"], ["a"], axis=1, keepdims=0),
        helper.make_node("Cast", ["a"], ["labels"], to=labels),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", *image)],
        [helper.make_tensor_value_info("labels", labels, [1, HEIGHT, WIDTH])],
        [
            numpy_helper.from_array(weights, "conv.weight"),
            numpy_helper.from_array(np.array(factor, np.float32), "factor"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return path


def tiny_bundle(out: Path, *, seed: int = 0, extra_node: bool = False, **target: object) -> Bundle:
    """A bundle of the tiny network whose golden labels are its own."""
    form = {key: target[key] for key in ("layout", "labels_dtype") if key in target}
    model = write_tiny(out.with_suffix(".onnx"), seed=seed, extra_node=extra_node, **form)
    images = np.random.default_rng(0).integers(0, 256, (4, HEIGHT, WIDTH, 3)).astype(np.uint8)
    with open_onnxruntime(model, threads=1) as runner:
        found = [runner.infer(image[None])["labels"] for image in images]
        labels = np.concatenate(found).astype(np.uint8)
    values = {"name": "cpu", "imgsz": (HEIGHT, WIDTH), "threads": 1} | target
    return write_bundle(
        out,
        model=model,
        golden_images=images,
        golden_labels=labels,
        network="tiny",
        labels=LABELS,
        preprocess=Preprocess(),
        target=Target.model_validate(values),
        trained=("conv.weight",),
        provenance={},
    )
