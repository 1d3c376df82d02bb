"""What ONNX Runtime runs, operator by operator: time, multiply-adds and bytes of each.

Everything is read from ONNX Runtime's own profile of the optimised graph, so fused and reordered
operators are counted as they run. Profiling slows every operator a little: totals are measured
without it.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from artoolkit.backends.onnx_session import one_line, open_session
from artoolkit.spec import Frozen

_SUFFIX = "_kernel_time"


class Operator(Frozen):
    """One operator of the graph that really runs, in the order in which it runs.

    `milliseconds`: median over the runs. `macs`: multiply-adds, 0 where it is neither a
    convolution nor a matrix product. `bytes_moved`: inputs, weights and outputs, each once, but no
    weights that ONNX Runtime packed beforehand (those of matrix products).
    `shape`: of its first output. `dtype`: of its first input, as ONNX Runtime calls it.
    """

    name: str
    kind: str
    milliseconds: float
    macs: int
    bytes_moved: int
    shape: tuple[int, ...]
    dtype: str


def profile_onnx(
    model: Path, feeds: Mapping[str, Any], *, threads: int | None = None, runs: int = 10
) -> tuple[Operator, ...]:
    """The operators of `model` over `runs` runs of `feeds` on the CPU, after two more to warm up.

    Raises `BackendError` if the file cannot be opened or run.
    """
    with tempfile.TemporaryDirectory() as folder:
        opened = open_session(model, threads=threads, profile=Path(folder) / "profile")
        with one_line("ONNX Runtime could not run the graph"):
            for _ in range(runs + 2):
                opened.session.run(None, dict(feeds))
        events = json.loads(Path(opened.session.end_profiling()).read_text())
    return _operators([e for e in events if e["name"].endswith(_SUFFIX)], runs)


def _operators(events: list[dict[str, Any]], runs: int) -> tuple[Operator, ...]:
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
            **_counted(first[name, index]),
        )
        for (name, index), durations in times.items()
    )


def _counted(arguments: Mapping[str, Any]) -> dict[str, Any]:
    inputs = [next(iter(t.items())) for t in arguments["input_type_shape"]]
    outputs = [next(iter(t.values())) for t in arguments["output_type_shape"]]
    sizes = (int(arguments[f"{part}_size"]) for part in ("activation", "parameter", "output"))
    shapes = [shape for _, shape in inputs]
    return {
        "macs": _macs(arguments["op_name"], shapes, outputs[0]),
        "bytes_moved": sum(sizes),
        "shape": tuple(outputs[0]),
        "dtype": inputs[0][0] if inputs else "",
    }


def _macs(kind: str, inputs: list[list[int]], output: list[int]) -> int:
    if "Conv" in kind:
        # The weights are the first input of rank 4 after the image: Cout x Cin/groups x kh x kw.
        weights = next(shape for shape in inputs[1:] if len(shape) == 4)
        return math.prod(output) * math.prod(weights[1:])
    if kind in ("MatMul", "FusedMatMul", "Gemm", "MatMulInteger", "QLinearMatMul"):
        return math.prod(output) * inputs[0][-1]
    return 0
