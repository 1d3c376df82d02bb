"""ONNX Runtime: the backend that runs everywhere, on the CPU by default.

A tensor inside the graph, such as `scores`, can be asked for as an output of the same file (this
needs onnx); the file on disk is never changed. Sessions are opened by `session.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from artoolkit.backends.onnxruntime.session import one_line, open_session, tensor_spec
from artoolkit.backends.runner import Feeds, OpenRunner, Outputs
from artoolkit.errors import BackendError, ExportError
from artoolkit.graph.onnx_file import data_files, load_onnx
from artoolkit.spec import RunnerSpec, SessionOptions, TensorSpec
from artoolkit.words import Precision


class OnnxRuntimeRunner(OpenRunner):
    """An open session; see `open_onnxruntime`."""

    def __init__(self, session: Any, spec: RunnerSpec) -> None:
        super().__init__(spec)
        self._session = session
        self._names = [tensor.name for tensor in spec.outputs]

    def _infer(self, feeds: Feeds) -> Outputs:
        with one_line("ONNX Runtime could not run the graph"):
            values = self._session.run(self._names, dict(feeds))
        return dict(zip(self._names, values, strict=True))

    def _release(self) -> None:
        self._session = None


def open_onnxruntime(
    model: Path,
    *,
    device: str = "cpu",
    threads: int | None = None,
    chosen: SessionOptions | None = None,
    outputs: Sequence[str] | None = None,
    precision: Precision = "fp32",
) -> OnnxRuntimeRunner:
    """Open any ONNX file with static shapes on `device` as `open_session` does, with its errors.

    `outputs` may name tensors inside the graph (None: the graph's own outputs); `BackendError`
    names those that are not there.
    """
    content = None if outputs is None else _declaring(model, outputs)
    opened = open_session(
        model, content=content, device=device, threads=threads, chosen=chosen, precision=precision
    )
    spec = RunnerSpec(
        backend="onnxruntime",
        device=device,
        inputs=tuple(map(tensor_spec, opened.session.get_inputs())),
        outputs=_selected(opened.session.get_outputs(), outputs, model),
        settings=opened.settings,
    )
    return OnnxRuntimeRunner(opened.session, spec)


def optimised_graph(
    model: Path, out: Path, *, device: str = "cpu", threads: int | None = None
) -> Path:
    """Write the graph that ONNX Runtime really runs for `model` to `out`, and return `out`.

    Comparable only with one written by the same version on the same processor, and only as a
    graph: names and order in the file change from run to run.
    """
    # What lies beside the file would be looked for beside the copy.
    content = None
    if data_files(model):
        content = load_onnx(model, "the optimised graph").SerializeToString()
    open_session(model, content=content, device=device, threads=threads, optimised=out)
    return out


def _declaring(model: Path, outputs: Sequence[str]) -> bytes:
    """The bytes of `model` with inner tensors declared as outputs."""
    try:
        graph = load_onnx(model, "reading a tensor inside the graph")
    except ExportError as error:
        raise BackendError(error.what, got=error.got, hint=error.hint) from error
    declared = {value.name for value in graph.graph.output}
    inner = {value.name: value for value in graph.graph.value_info}
    for name in outputs:
        if name in inner and name not in declared:
            graph.graph.output.append(inner[name])
    content: bytes = graph.SerializeToString()
    return content


def _selected(
    declared: Sequence[Any], outputs: Sequence[str] | None, model: Path
) -> tuple[TensorSpec, ...]:
    by_name = {value.name: value for value in declared}
    outputs = tuple(by_name) if outputs is None else outputs
    if missing := [name for name in outputs if name not in by_name]:
        raise BackendError(
            f"{model} has no tensor called {', '.join(missing)}",
            got=", ".join(by_name),
            hint="Export it again with this artoolkit.",
        )
    return tuple(tensor_spec(by_name[name]) for name in outputs)
