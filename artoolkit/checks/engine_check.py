"""The plan and memory checks where TensorRT runs the network.

RTX's programs are compared byte for byte without a GPU; `tensorrt`'s engines are built here as a
controlled pair, which needs the GPU that the target names. Imports neither library by itself.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from artoolkit.backends.tensorrt.engine import building_gpu, options_for
from artoolkit.backends.tensorrt.engine_form import engine_form
from artoolkit.backends.tensorrt.library import check_range, open_library
from artoolkit.backends.tensorrt.options import PORTABLE
from artoolkit.backends.tensorrt.pair import plan_pair
from artoolkit.backends.tensorrt.program import plan_check
from artoolkit.errors import EngineError
from artoolkit.evidence.bundle import Bundle
from artoolkit.evidence.verdict import Check
from artoolkit.graph.memory import MemoryComponents
from artoolkit.spec import RunnerSpec

Report = Callable[[str, float], None]
ENGINE_SOURCE = "the engine, its build log and its inputs and outputs"


def check_rtx_program(
    name: str, baseline: Bundle, candidate: Bundle, *, required: bool, report: Report
) -> Check:
    """The program bytes of TensorRT for RTX, compared ahead of time, without a GPU.

    A bundle that was made for a CPU is compiled as a GPU is given it, which the summary says.
    """
    target = candidate.manifest.target
    if target.head == "sparse":
        reason = "a head whose work follows the picture has no program of fixed cost"
        return Check(name=name, result="UNAVAILABLE", summary=reason, required=required)

    def heard(what: str, fraction: float) -> bool:
        report(f"RTX {what}", fraction)
        return True

    with tempfile.TemporaryDirectory(prefix="artoolkit-plan-") as folder:
        places = [Path(folder) / role for role in ("baseline", "candidate")]
        for place in places:
            place.mkdir()
        a, b = (
            engine_form(bundle.model, place)
            for bundle, place in zip((baseline, candidate), places, strict=True)
        )
        found = plan_check(
            a.path,
            b.path,
            trained=baseline.manifest.trained,
            compute_capabilities=target.compute_capabilities or (PORTABLE,),
            precision=target.precision,
            progress=heard,
        )
    as_given = f"; as a GPU is given it: {', '.join(a.changes)}" if a.changes else ""
    return Check(
        name=name,
        result=found.result,
        summary=found.summary + as_given,
        numbers={**found.model_dump(mode="json"), "form": list(a.changes)},
        required=required,
    )


def check_engine_pair(
    baseline: Bundle,
    candidate: Bundle,
    *,
    device: str,
    required: bool,
    report: Report,
    refit: bool = False,
) -> Check:
    """Both networks built with `tensorrt` from one timing cache, three times each, and compared.

    Raises `MissingLibraryError` without the library, `EngineError` where it or this machine's GPU
    is not the target's, `BackendError` without a driver or GPU.
    """
    target = candidate.manifest.target
    check_range(open_library("tensorrt", "the plan check"), target)
    options = options_for(target, library="tensorrt", device=device)
    building_gpu(target, options)

    def heard(what: str, fraction: float) -> bool:
        report(f"engine of the {what}", fraction)
        return True

    with tempfile.TemporaryDirectory(prefix="artoolkit-plan-") as folder:
        found = plan_pair(
            baseline.model, candidate.model, Path(folder), options, refit=refit, progress=heard
        )
    diagnostic = f"; refit: {found.refit}" if found.refit else ""
    return Check(
        name="plan",
        result=found.result,
        summary=found.summary + diagnostic,
        numbers=found.model_dump(mode="json"),
        required=required,
    )


def engine_memory(spec: RunnerSpec) -> MemoryComponents:
    """Bytes of an open engine by component; `EngineError` where its build log told no weights."""
    settings = spec.settings
    if settings["weights_bytes"] is None:
        raise EngineError(
            f"the build log of {settings['plan']} did not tell the bytes of its weights",
            hint="Build it again with another version: artoolkit build BUNDLE",
        )
    return MemoryComponents(
        program_bytes=settings["plan_bytes"],
        weights_bytes=settings["weights_bytes"],
        activations_bytes=settings["activation_bytes"],
        io_bytes=sum(
            math.prod(tensor.shape) * np.dtype(tensor.dtype).itemsize
            for tensor in (*spec.inputs, *spec.outputs)
        ),
    )
