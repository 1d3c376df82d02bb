"""OpenVINO as artoolkit asks it: bundles and bare ONNX files, compiled when they are opened."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from artoolkit.backends.backend import (
    Backend,
    Built,
    Model,
    Operator,
    ProgramComparison,
    Progress,
    onnx_of,
)
from artoolkit.backends.openvino.blob import Sidecar, blob_of, build_blob
from artoolkit.backends.openvino.loader import Compiled, compiled, computes, imported
from artoolkit.backends.openvino.profile import peak_macs_per_s, profile_layers
from artoolkit.backends.openvino.program import (
    RUNTIME_SOURCE,
    differences,
    layers_of,
    runtime_memory,
    work,
)
from artoolkit.backends.openvino.runner import OpenVinoRunner
from artoolkit.backends.runner import Batch, checked_feeds
from artoolkit.errors import UsageError
from artoolkit.evidence.bundle import Bundle
from artoolkit.fresh_process import Progress as Reporter
from artoolkit.graph.memory import MemoryComponents, onnx_memory
from artoolkit.words import Precision

SHOWN = 5


@dataclass(frozen=True)
class OpenVino(Backend):
    """Programs and memory are read from the runtime graph of what was compiled."""

    name = "openvino"
    title = "OpenVINO"
    devices = ("cpu", "gpu", "npu", "auto")
    precisions = ("fp32", "bf16", "fp16", "int8")
    suffixes = (".onnx",)
    abilities = {"run bundles on OpenVINO": ("openvino",)}  # noqa: RUF012

    def open(
        self,
        model: Model,
        *,
        device: str,
        threads: int | None = None,
        outputs: Sequence[str] | None = None,
    ) -> OpenVinoRunner:
        """As in `Backend`; a bundle's own blob for this machine is imported rather than compiled.

        Raises `EngineError` where the bundle has blobs for `device`, and none is this machine's.
        """
        if isinstance(model, Bundle) and outputs is None:
            self.check_precision(model)
            if (blob := blob_of(model, device)) is not None:
                target = model.manifest.target
                found = imported(
                    blob[0],
                    target.tensors,
                    device=device,
                    precision=target.precision,
                    float_precision=target.float_precision,
                    threads=threads or target.threads,
                )
                return OpenVinoRunner(found, device)
        found = self._compiled(model, device=device, threads=threads, outputs=outputs)
        return OpenVinoRunner(found, device)

    def build(
        self, bundle: Bundle, asked: Mapping[str, Any], *, progress: Reporter | None = None
    ) -> tuple[Built, ...]:
        """Blobs of the compiled models; `device` (None: the target's) is the one option."""
        if unknown := sorted({*asked} - {"device"}):
            raise UsageError(
                f"{self.name} builds without {', '.join(unknown)}", expected="device alone"
            )
        device = self.device_for(bundle, asked.get("device"))
        pair = [bundle] if bundle.baseline is None else [bundle.baseline, bundle]
        return tuple(_told(*build_blob(one, device, progress)) for one in pair)

    def _compiled(
        self,
        model: Model,
        *,
        device: str,
        threads: int | None = None,
        outputs: Collection[str] | None = None,
        profile: bool = False,
    ) -> Compiled:
        if not isinstance(model, Bundle):
            return compiled(model, device=device, threads=threads, outputs=outputs, profile=profile)
        self.check_precision(model)
        target = model.manifest.target
        return compiled(
            model.model,
            device=device,
            precision=target.precision,
            float_precision=target.float_precision,
            threads=threads or target.threads,
            outputs=outputs,
            profile=profile,
        )

    def memory(
        self, model: Model, *, device: str, threads: int | None = None
    ) -> tuple[str, MemoryComponents]:
        found = self._compiled(model, device=device, threads=threads)
        io_bytes = sum(
            math.prod(tensor.shape) * np.dtype(tensor.dtype).itemsize
            for tensor in (*found.inputs, *found.outputs)
        )
        # A compiled blob is some bytes longer or shorter each time, for names that are counted up
        # over a process: the program is the file that OpenVINO compiles.
        program_bytes = onnx_memory(onnx_of(model)).program_bytes
        return RUNTIME_SOURCE, runtime_memory(layers_of(found), program_bytes, io_bytes)

    def compare_programs(
        self,
        baseline: Model,
        candidate: Model,
        *,
        device: str,
        trained: Collection[str] | None = None,
        progress: Progress | None = None,
    ) -> ProgramComparison:
        """Layers, primitives, precisions, layouts and shapes of both runtime graphs, in order."""
        one, other = (
            layers_of(self._compiled(model, device=device)) for model in (baseline, candidate)
        )
        found, count = differences(one, other), work(one)
        if not found:
            same = f"OpenVINO runs the same {count} layers, precisions and layouts for both"
            return ProgramComparison(result="PASS", headline=same, numbers={"layers": count})
        more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
        return ProgramComparison(
            result="FAIL",
            headline=f"{len(found)} differences between the compiled programs",
            details=(*found[:SHOWN], *more),
            numbers={"layers": count, "differences": found[:100]},
        )

    def profile(
        self, model: Model, batch: Batch, *, threads: int | None = None
    ) -> tuple[int, tuple[Operator, ...]]:
        found = self._compiled(model, device="cpu", threads=threads, profile=True)
        feeds = checked_feeds(OpenVinoRunner(found, "cpu").spec, batch)
        return found.settings["inference_num_threads"], profile_layers(found, feeds)

    def peaks(self, threads: int) -> dict[Precision, float]:
        """fp32 and int8, and bf16 where the CPU computes in it."""
        wanted: tuple[Precision, ...] = ("fp32", "bf16", "int8")
        return {p: peak_macs_per_s(p, threads) for p in wanted if computes("cpu", p)}


def _told(blob: Path, sidecar: Sidecar) -> Built:
    rows = {
        "engine": f"{blob}, {sidecar.plan_bytes:,} bytes",
        "compiled by": f"OpenVINO {sidecar.library_version}, {sidecar.precision}, for "
        f"{sidecar.processor}, in {sidecar.seconds:.1f} s",
    }
    return Built(blob, sidecar.model_dump(mode="json"), rows)
