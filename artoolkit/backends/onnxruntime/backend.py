"""ONNX Runtime as artoolkit asks it: bundles and bare ONNX files, on a CPU or by providers."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artoolkit.backends.backend import (
    Backend,
    Model,
    Operator,
    ProgramComparison,
    Progress,
    onnx_of,
)
from artoolkit.backends.onnxruntime.peak import peak_macs_per_s
from artoolkit.backends.onnxruntime.profile import profile_onnx
from artoolkit.backends.onnxruntime.runner import (
    OnnxRuntimeRunner,
    open_onnxruntime,
    optimised_graph,
)
from artoolkit.backends.onnxruntime.session import THREADS
from artoolkit.backends.runner import Batch, checked_feeds
from artoolkit.evidence.bundle import Bundle
from artoolkit.graph.forms import write_seeded
from artoolkit.graph.memory import GRAPH_SOURCE, MemoryComponents, onnx_memory
from artoolkit.graph.onnx_file import load_onnx
from artoolkit.optional import require
from artoolkit.words import Precision

if TYPE_CHECKING:
    from artoolkit.graph.identity import Difference

SHOWN = 5
_PURPOSE = "the plan check"


@dataclass(frozen=True)
class OnnxRuntime(Backend):
    """Memory is read from the graph, programs from the optimised graphs."""

    name = "onnxruntime"
    title = "ONNX Runtime"
    devices = ("cpu", "cuda", "tensorrt")
    suffixes = (".onnx",)
    triton = 'backend: "onnxruntime"'
    takes_session = True
    abilities = {"run bundles on ONNX Runtime": ("onnxruntime",)}  # noqa: RUF012

    def open(
        self,
        model: Model,
        *,
        device: str,
        threads: int | None = None,
        outputs: Sequence[str] | None = None,
    ) -> OnnxRuntimeRunner:
        if isinstance(model, Bundle):
            self.check_precision(model)
        target = model.manifest.target if isinstance(model, Bundle) else None
        return open_onnxruntime(
            onnx_of(model),
            device=device,
            threads=threads or (target.threads if target else None),
            chosen=target.session if target else None,
            outputs=outputs,
            precision=target.precision if target else "fp32",
        )

    def memory(
        self, model: Model, *, device: str, threads: int | None = None
    ) -> tuple[str, MemoryComponents]:
        return GRAPH_SOURCE, onnx_memory(onnx_of(model))

    def compare_programs(
        self,
        baseline: Model,
        candidate: Model,
        *,
        device: str,
        trained: Collection[str] | None = None,
        progress: Progress | None = None,
    ) -> ProgramComparison:
        """Operators, attributes, edges and shapes of the optimised graphs, and integer constants.

        Float initialisers hold weights in layouts of ONNX Runtime's own, so their values are left
        to the comparison of the graphs. It holds equal ones once, such as biases that are still
        zero: where only that tells the graphs apart, both are compared with seeded weights.
        """
        require("onnx", _PURPOSE)
        files = [onnx_of(model) for model in (baseline, candidate)]
        how = ""
        with tempfile.TemporaryDirectory(prefix="artoolkit-plan-") as folder:
            found, nodes = _compared(files, Path(folder), device)
            if found and all(one.what.startswith("edge") for one in found):
                from artoolkit.graph.identity import weights_by_rule

                for index, file in enumerate(files):
                    names = trained or weights_by_rule(load_onnx(file, _PURPOSE))
                    write_seeded(file, names, Path(folder) / f"seeded-{index}.onnx")
                seeded = [Path(folder) / f"seeded-{index}.onnx" for index in (0, 1)]
                if not _compared(seeded, Path(folder), device)[0]:
                    found, how = (), "; equal weights are held once, compared with others"
        if not found:
            same = f"ONNX Runtime runs the same {nodes} optimised nodes for both{how}"
            return ProgramComparison(result="PASS", headline=same, numbers={"nodes": nodes})
        more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
        return ProgramComparison(
            result="FAIL",
            headline=f"{len(found)} differences between the optimised graphs",
            details=(*map(str, found[:SHOWN]), *more),
            numbers={"differences": [str(one) for one in found[:100]], "nodes": nodes},
        )

    def profile(
        self, model: Model, batch: Batch, *, threads: int | None = None
    ) -> tuple[int, tuple[Operator, ...]]:
        with self.open(model, device="cpu", threads=threads) as runner:
            feeds, in_use = checked_feeds(runner.spec, batch), runner.spec.settings[THREADS]
        chosen = model.manifest.target.session if isinstance(model, Bundle) else None
        return in_use, profile_onnx(onnx_of(model), feeds, threads=in_use, chosen=chosen)

    def peaks(self, threads: int) -> dict[Precision, float]:
        return peak_macs_per_s(threads)


def _compared(
    files: Sequence[Path], folder: Path, device: str
) -> tuple[tuple[Difference, ...], int]:
    """Differences of two optimised graphs, and the nodes of the first."""
    from artoolkit.graph.identity import compare_graphs

    written = [
        optimised_graph(file, folder / f"{index}.onnx", device=device)
        for index, file in enumerate(files)
    ]
    models = [load_onnx(path, _PURPOSE) for path in written]
    found = compare_graphs(*models, *map(_float_initialisers, models))
    return found, len(models[0].graph.node)


def _float_initialisers(model: Any) -> set[str]:
    import onnx

    floats = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE}
    return {tensor.name for tensor in model.graph.initializer if tensor.data_type in floats}
