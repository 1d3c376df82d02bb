"""A checkpoint as one ONNX file: the dynamo exporter, tidied by rules that no weight can bend.

The same checkpoint and target give the same bytes. Initialisers that are trained parameters carry
their state-dict name; `fold.py` says what becomes of batch normalisation.
"""

from __future__ import annotations

import hashlib
import logging
import re
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import onnx
import torch
from onnx import helper
from torch import nn

from artoolkit import __version__
from artoolkit.deploy.fold import fold_batch_norm, fold_padding, store_transposed
from artoolkit.deploy.graph import INPUT, OUTPUT, SCORES, LabelsAndScores, deployed_module
from artoolkit.deploy.pools import pool_translations
from artoolkit.deploy.simplify import simplified
from artoolkit.errors import ExportError
from artoolkit.evidence.seal import write_atomically
from artoolkit.networks.checkpoint import Checkpoint, CheckpointMeta
from artoolkit.spec import Target

_PREFIX = "deployed.network."
# Places in what the exporter says, and whose code they are not to show.
_PLACE = re.compile(r'File "([^"]+)", line (\d+), in ')
_OF_LIBRARIES = re.compile(r"[/\\](torch|onnxscript|artoolkit)[/\\]")


@dataclass(frozen=True)
class OnnxInfo:
    """An exported file: its hash, its trained initialisers, and how often each operator occurs."""

    path: Path
    sha256: str
    trained: tuple[str, ...]
    census: Mapping[str, int]


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Silences what the exporter says of itself and no user can act on.

    torchvision is not used and need not be registered; torch.export still calls a part of pytree
    that torch deprecates; opset 17 is reached from 18 by a conversion whose result is checked. What
    it logs before it fails, whole graphs among it, is in its exception too.
    """
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            yield
    finally:
        logging.disable(before)


def _exported(module: nn.Module, target: Target) -> onnx.ModelProto:
    image, _ = target.tensors
    images = torch.zeros(image.shape, dtype=getattr(torch, image.dtype))
    try:
        with _quiet_exporter():
            program = torch.onnx.export(
                module,
                (images,),
                dynamo=True,
                optimize=False,
                external_data=False,
                verbose=False,
                input_names=[INPUT],
                output_names=[OUTPUT, SCORES],
                opset_version=target.opset,
                custom_translation_table=pool_translations(),
            )
    except Exception as error:
        raise _not_exported(error, module) from error
    assert program is not None, "the dynamo exporter returns a program"
    model: onnx.ModelProto = program.model_proto
    return model


def _not_exported(error: BaseException, module: nn.Module) -> ExportError:
    """The failure in one line: operator, module and line of the user's code, as far as it tells.

    The exporter wraps every failure in classes of its own; the first line of the innermost one
    names the operator. The module is that whose code ran, or whose operator was translated, last.
    """
    names = {id(part): name for name, part in module.named_modules()}
    where = places = ""
    while True:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            where = names.get(id(frame.f_locals.get("self")), where)
            meta = getattr(frame.f_locals.get("node"), "meta", {})
            stack = [path for path, _ in (meta.get("nn_module_stack") or {}).values()]
            where = stack[-1] if stack else where
            places = meta.get("stack_trace") or places
        places += str(error)
        if error.__cause__ is None:
            break
        error = error.__cause__
    lines = str(error).strip().splitlines() or [type(error).__name__]
    code = [place for place in _PLACE.findall(places) if not _OF_LIBRARIES.search(place[0])]
    line = f" ({Path(code[-1][0]).name}, line {code[-1][1]})" if code else ""
    owner = where.removeprefix(_PREFIX.removesuffix(".")).lstrip(".") or "the network itself"
    return ExportError(
        f"the network cannot be exported: {owner}{line}",
        got=f"{type(error).__name__}: {lines[0]}",
        hint="Write this part with other operators, or give a factory that replaces it: "
        "docs/your-network.md, section Exports.",
    )


def _strip(model: onnx.ModelProto) -> None:
    """Remove stack traces (paths of this machine) and other notes of the exporter."""
    for holder in (model, model.graph, *model.graph.node, *model.graph.input, *model.graph.output):
        del holder.metadata_props[:]
        holder.ClearField("doc_string")
    model.graph.name = "deployed"


def _rename(model: onnx.ModelProto) -> None:
    """State-dict names for parameters, and module names for the nodes that own them."""
    graph = model.graph
    for initializer in graph.initializer:
        initializer.name = initializer.name.removeprefix(_PREFIX)
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = name.removeprefix(_PREFIX)


def _name_layers(model: onnx.ModelProto, trained: set[str]) -> None:
    """Call each node that reads a trained parameter by the module of the first one it reads.

    The sum with a bias takes the bias's name, and others of one module keep their own: ONNX Runtime
    refuses a name that stands twice.
    """
    taken: set[str] = set()
    for node in model.graph.node:
        own = next((name for name in node.input if name in trained), None)
        if own is not None:
            free = (name for name in (own.rpartition(".")[0], own) if name not in taken)
            node.name = next(free, node.name)
            taken.add(node.name)


def _metadata(meta: CheckpointMeta, target: Target, stride: int) -> dict[str, str]:
    """Ultralytics' keys, which readers exist for, and what makes labels of this file alone.

    No time of day: the bytes must repeat.
    """
    settings = {"precision": target.precision, "opset": target.opset}
    return {
        "description": f"artoolkit {meta.network}, {meta.labels.name}",
        "author": "artoolkit",
        "date": str(meta.provenance.get("created", "")),
        "version": __version__,
        "license": str(meta.provenance.get("license", "")),
        "stride": str(stride),
        "task": "semantic",
        "batch": str(target.batch),
        "imgsz": str(list(target.imgsz)),
        "names": str(dict(enumerate(meta.labels.names))),
        "args": str(settings),
        "labels": meta.labels.model_dump_json(),
        "preprocess": meta.preprocess.model_dump_json(),
    }


def graph_from_checkpoint(
    checkpoint: Checkpoint, target: Target
) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """The deployed graph in the target's float precision, and its trained initialisers, sorted.

    int8 starts from the float32 graph: see `quantize.py`. Raises `ExportError` if an operator has
    no form in ONNX, or if a training-only part reached the graph.
    """
    network = checkpoint.network()
    training_only, stride = network.training_only, network.output_stride
    model = _exported(
        LabelsAndScores(deployed_module(network, checkpoint.meta.preprocess, target)), target
    )
    _strip(model)
    _rename(model)
    state = {key: value.numpy() for key, value in checkpoint.state.items()}
    model = simplified(model, state)
    fold_batch_norm(model, state)
    fold_padding(model)
    store_transposed(model, state)
    model = simplified(model, state)  # without what both have left behind
    scores = model.graph.output.pop()
    assert scores.name == SCORES, "the score map is the second output"
    trained = {i.name for i in model.graph.initializer} & set(state)
    if leaked := sorted(n for n in trained if n.startswith(training_only)):
        raise ExportError("training-only parameters reached the graph", got=", ".join(leaked))
    _name_layers(model, trained)
    helper.set_model_props(model, _metadata(checkpoint.meta, target, stride))
    return checked(model, target), tuple(sorted(trained))


def checked(model: onnx.ModelProto, target: Target) -> onnx.ModelProto:
    """`model` with inferred shapes, or an `ExportError` if it is not valid for the target."""
    opset = next(o.version for o in model.opset_import if o.domain == "")
    if opset != target.opset:
        raise ExportError(
            "the exporter could not reach the target's opset",
            got=opset,
            expected=target.opset,
            hint="Set another opset in the target.",
        )
    try:
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError("the exported graph is not valid ONNX", got=str(error)) from error
    for value in model.graph.value_info:
        if any(not side.HasField("dim_value") for side in value.type.tensor_type.shape.dim):
            node = next(node for node in model.graph.node if value.name in node.output)
            raise ExportError(
                "the size of a tensor depends on the values in an image, so its memory cannot be "
                "stated",
                got=f"{node.op_type}, {node.name}",
                hint="Select by torch.where instead of a mask as an index: docs/your-network.md, "
                "section Exports.",
            )
    return model


def census(model: onnx.ModelProto) -> dict[str, int]:
    """Count of each operator, by name."""
    return dict(sorted(Counter(node.op_type for node in model.graph.node).items()))


def write_onnx(model: onnx.ModelProto, trained: tuple[str, ...], path: Path) -> OnnxInfo:
    """Write one file, weights inside, atomically. `StorageError` if it cannot be written."""
    content: bytes = model.SerializeToString(deterministic=True)
    write_atomically(path, content)
    return OnnxInfo(path, hashlib.sha256(content).hexdigest(), trained, census(model))


def onnx_from_checkpoint(checkpoint: Checkpoint, target: Target, path: Path) -> OnnxInfo:
    """Export `checkpoint` for `target` to `path`; see `graph_from_checkpoint` for the errors."""
    model, trained = graph_from_checkpoint(checkpoint, target)
    return write_onnx(model, trained, path)
