"""Profile of ONNX Runtime, operator by operator: time, multiply-adds and bytes of each.

Everything is read from ONNX Runtime's own profile of the optimised graph, so fused and reordered
operators are counted as they run. The weights of int8 convolutions, packed before the first run,
are not in the profile: their shapes are read from the optimised graph itself. Profiling slows
every operator a little: totals are measured without it.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from artoolkit.backends.backend import Operator
from artoolkit.backends.onnxruntime.session import Session, one_line, open_session
from artoolkit.graph.onnx_file import load_onnx
from artoolkit.spec import SessionOptions

_SUFFIX = "_kernel_time"
_PACKED = "QLinearConv"


def profile_onnx(
    model: Path,
    feeds: Mapping[str, Any],
    *,
    threads: int | None = None,
    chosen: SessionOptions | None = None,
    runs: int = 10,
) -> tuple[Operator, ...]:
    """The operators of `model` over `runs` runs of `feeds` on the CPU, after two more to warm up.

    Raises `BackendError` if the file cannot be opened or run, `MissingLibraryError` without onnx
    where it holds int8 convolutions.
    """
    with profiled(model, threads=threads, chosen=chosen) as profile:
        for _ in range(runs + 2):
            profile.run(feeds)
        return profile.operators(runs)


@contextmanager
def profiled(
    model: Path, *, threads: int | None = None, chosen: SessionOptions | None = None
) -> Iterator[Profile]:
    """`model` open with the profiler on, for a caller who decides when it runs."""
    with tempfile.TemporaryDirectory() as folder:
        optimised = Path(folder) / "optimised.onnx"
        opened = open_session(
            model,
            threads=threads,
            chosen=chosen,
            optimised=optimised,
            profile=Path(folder) / "profile",
        )
        yield Profile(opened, optimised)


class Profile:
    """An open session whose operators are being timed; made by `profiled`."""

    def __init__(self, opened: Session, optimised: Path) -> None:
        self._session, self._optimised = opened.session, optimised

    def run(self, feeds: Mapping[str, Any]) -> None:
        with one_line("ONNX Runtime could not run the graph"):
            self._session.run(None, dict(feeds))

    def operators(self, runs: int) -> tuple[Operator, ...]:
        """The medians over the last `runs` runs. Ends the profile: nothing is timed after it."""
        events = json.loads(Path(self._session.end_profiling()).read_text())
        kernels = [e for e in events if e["name"].endswith(_SUFFIX)]
        is_packed = any(e["args"]["op_name"] == _PACKED for e in kernels)
        return _operators(kernels, runs, _packed_weights(self._optimised) if is_packed else {})


def _packed_weights(optimised: Path) -> dict[str, tuple[int, ...]]:
    """Shape of the weights of each int8 convolution, by the name of its node."""
    graph = load_onnx(optimised, "counting the multiply-adds of int8 convolutions").graph
    shapes = {initializer.name: tuple(initializer.dims) for initializer in graph.initializer}
    return {node.name: shapes[node.input[3]] for node in graph.node if node.op_type == _PACKED}


def _operators(
    events: list[dict[str, Any]], runs: int, packed: Mapping[str, tuple[int, ...]]
) -> tuple[Operator, ...]:
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    first: dict[tuple[str, str], dict[str, Any]] = {}
    for event in sorted(events, key=lambda e: e["ts"]):
        key = (event["name"], event["args"]["node_index"])
        times[key].append(event["dur"] / 1e3)
        first.setdefault(key, event["args"])
    return tuple(
        Operator(
            name=name.removesuffix(_SUFFIX),
            kind=first[name, index]["op_name"],
            milliseconds=median(durations[-runs:]),
            **_counted(first[name, index], packed.get(name.removesuffix(_SUFFIX))),
        )
        for (name, index), durations in times.items()
    )


def _counted(arguments: Mapping[str, Any], packed: Sequence[int] | None) -> dict[str, Any]:
    inputs = [next(iter(t.items())) for t in arguments["input_type_shape"]]
    outputs = [next(iter(t.values())) for t in arguments["output_type_shape"]]
    sizes = (int(arguments[f"{part}_size"]) for part in ("activation", "parameter", "output"))
    shapes = [shape for _, shape in inputs] + ([packed] if packed else [])
    return {
        "macs": _macs(arguments["op_name"], shapes, outputs[0]),
        "bytes_moved": sum(sizes),
        "shape": tuple(outputs[0]),
        "dtype": inputs[0][0] if inputs else "",
    }


def _macs(kind: str, inputs: Sequence[Sequence[int]], output: Sequence[int]) -> int:
    if "Conv" in kind:
        # The weights are the first input of rank 4 after the image: Cout x Cin/groups x kh x kw.
        weights = next(shape for shape in inputs[1:] if len(shape) == 4)
        return math.prod(output) * math.prod(weights[1:])
    if kind in ("MatMul", "FusedMatMul", "Gemm", "MatMulInteger", "QLinearMatMul"):
        return math.prod(output) * inputs[0][-1]
    return 0
