"""TensorRT and TensorRT for RTX as artoolkit asks them: engines of bundles, on NVIDIA's GPUs.

RTX's programs are compared byte for byte without a GPU; `tensorrt`'s engines are built as a
controlled pair, which needs the GPU that the target names. Imports neither library by itself.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from artoolkit.backends.backend import Backend, Model, ProgramComparison, Progress, onnx_of
from artoolkit.backends.tensorrt.cuda_memory import Provider
from artoolkit.backends.tensorrt.engine import building_gpu, options_for
from artoolkit.backends.tensorrt.engine_form import engine_form
from artoolkit.backends.tensorrt.library import check_range, open_library
from artoolkit.backends.tensorrt.options import PORTABLE, build_options
from artoolkit.backends.tensorrt.pair import plan_pair
from artoolkit.backends.tensorrt.program import plan_check
from artoolkit.backends.tensorrt.runner import TensorrtRunner, open_tensorrt
from artoolkit.errors import EngineError, UsageError
from artoolkit.evidence.bundle import Bundle
from artoolkit.graph.memory import MemoryComponents
from artoolkit.graph.onnx_file import load_onnx
from artoolkit.spec import RunnerSpec
from artoolkit.words import LibraryName

ENGINE_SOURCE = "the engine, its build log and its inputs and outputs"
_LONGEST_HEADLINE = 80


@dataclass(frozen=True)
class _Engines(Backend):
    """What both libraries answer alike; `cuda_memory` and `cuda_graph` are how an engine runs."""

    cuda_memory: Provider = "cuda-bindings"
    cuda_graph: bool = False

    library: ClassVar[LibraryName]
    devices = ("cuda", "dla")
    default_device = "cuda:0"

    def open(
        self,
        model: Model,
        *,
        device: str,
        threads: int | None = None,
        outputs: Collection[str] | None = None,
    ) -> TensorrtRunner:
        if not isinstance(model, Bundle):
            raise UsageError(
                f"{self.name} runs engines of bundles", got=model, hint="Use onnxruntime for it."
            )
        return open_tensorrt(
            model,
            library=self.library,
            device=device,
            provider=self.cuda_memory,
            cuda_graph=self.cuda_graph,
        )

    def memory(
        self, model: Model, *, device: str, threads: int | None = None
    ) -> tuple[str, MemoryComponents]:
        with closing(self.open(model, device=device)) as runner:
            return ENGINE_SOURCE, engine_memory(runner.spec)


@dataclass(frozen=True)
class TensorRT(_Engines):
    """`refit` adds a diagnostic to the comparison of programs."""

    refit: bool = False

    name = "tensorrt"
    title = "TensorRT"
    library = "tensorrt"
    abilities = {"build and run TensorRT engines": ("tensorrt", "cuda.bindings")}  # noqa: RUF012

    def compare_programs(
        self,
        baseline: Model,
        candidate: Model,
        *,
        device: str,
        trained: Collection[str] | None = None,
        progress: Progress | None = None,
    ) -> ProgramComparison:
        """Both built from one timing cache, three times each, and compared layer by layer.

        Raises `MissingLibraryError` without the library, `EngineError` where it or this machine's
        GPU is not the target's, `BackendError` without a driver or GPU.
        """
        opened = open_library("tensorrt", "the plan check")
        if isinstance(candidate, Bundle):
            target = candidate.manifest.target
            check_range(opened, target)
            options = options_for(target, library="tensorrt", device=device)
            building_gpu(target, options)
        else:
            options = build_options(library="tensorrt", device=device)
        with tempfile.TemporaryDirectory(prefix="artoolkit-plan-") as folder:
            found = plan_pair(
                onnx_of(baseline),
                onnx_of(candidate),
                Path(folder),
                options,
                refit=self.refit,
                progress=_heard(progress, "engine of the"),
            )
        diagnostic = (f"refit: {found.refit}",) if found.refit else ()
        return ProgramComparison(
            result=found.result,
            headline=found.summary[:_LONGEST_HEADLINE],
            details=(found.summary, *diagnostic),
            numbers=found.model_dump(mode="json"),
        )


@dataclass(frozen=True)
class RTX(_Engines):
    """TensorRT for RTX."""

    name = "tensorrt-rtx"
    title = "TensorRT-RTX"
    library = "tensorrt-rtx"
    ahead_of_time = True
    abilities = {  # noqa: RUF012
        "prove equal programs without a GPU (TensorRT-RTX)": ("tensorrt_rtx", "onnx")
    }

    def compare_programs(
        self,
        baseline: Model,
        candidate: Model,
        *,
        device: str,
        trained: Collection[str] | None = None,
        progress: Progress | None = None,
    ) -> ProgramComparison:
        """Program bytes, compared ahead of time, without a GPU.

        A bundle that was made for a CPU is compiled as a GPU is given it, which the details say.
        """
        asked: dict[str, Any] = {}
        if isinstance(candidate, Bundle):
            target = candidate.manifest.target
            if target.head == "sparse":
                reason = "a head whose work follows the picture has no program of fixed cost"
                return ProgramComparison(result="UNAVAILABLE", headline=reason, details=(reason,))
            asked["compute_capabilities"] = target.compute_capabilities or (PORTABLE,)
            asked["precision"] = target.precision
        if trained is None:
            from artoolkit.graph.identity import weights_by_rule

            trained = weights_by_rule(load_onnx(onnx_of(baseline), "the plan check"))
        with tempfile.TemporaryDirectory(prefix="artoolkit-plan-") as folder:
            places = [Path(folder) / role for role in ("baseline", "candidate")]
            for place in places:
                place.mkdir()
            a, b = (
                engine_form(onnx_of(model), place)
                for model, place in zip((baseline, candidate), places, strict=True)
            )
            found = plan_check(
                a.path, b.path, trained=trained, progress=_heard(progress, "RTX"), **asked
            )
        as_given = (f"as a GPU is given it: {', '.join(a.changes)}",) if a.changes else ()
        return ProgramComparison(
            result=found.result,
            headline=found.summary[:_LONGEST_HEADLINE],
            details=(found.summary, *as_given),
            numbers={**found.model_dump(mode="json"), "form": list(a.changes)},
        )


def _heard(progress: Progress | None, what: str) -> Callable[[str, float], bool]:
    """`progress` as a build takes it: it never cancels."""

    def heard(phase: str, share: float) -> bool:
        if progress is not None:
            progress(f"{what} {phase}", share)
        return True

    return heard


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
