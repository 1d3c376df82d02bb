"""TensorRT and TensorRT for RTX as artoolkit asks them: engines of bundles, on NVIDIA's GPUs.

RTX's programs are compared byte for byte without a GPU; `tensorrt`'s engines are built as a
controlled pair, which needs the GPU that the target names. Imports neither library by itself.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from artoolkit.backends.backend import (
    Backend,
    Built,
    Model,
    ProgramComparison,
    Progress,
    onnx_of,
)
from artoolkit.backends.tensorrt.build import build_in_process
from artoolkit.backends.tensorrt.cuda.driver import driver_gpus
from artoolkit.backends.tensorrt.library import check_range, open_library
from artoolkit.backends.tensorrt.loader import (
    Engine,
    build_engines,
    building_gpu,
    options_for,
)
from artoolkit.backends.tensorrt.options import PORTABLE, build_options
from artoolkit.backends.tensorrt.pair import compare_engines
from artoolkit.backends.tensorrt.program import compare_programs, in_words
from artoolkit.backends.tensorrt.runner import TensorrtRunner, library_of, open_tensorrt
from artoolkit.backends.tensorrt.sidecar import PLAN
from artoolkit.errors import EngineError, UnavailableError, UsageError
from artoolkit.evidence.bundle import ENGINES, Bundle, open_bundle
from artoolkit.fresh_process import Progress as Reporter
from artoolkit.graph.forms import write_form
from artoolkit.graph.memory import AHEAD_OF_TIME, MemoryComponents
from artoolkit.graph.onnx_file import load_onnx
from artoolkit.spec import RunnerSpec, TensorSpec
from artoolkit.words import CudaMemory, LibraryName

ENGINE_SOURCE = "the engine, its build log and its inputs and outputs"


@dataclass(frozen=True)
class _Engines(Backend):
    """Answers that both libraries share.

    `cuda_memory` (None: the target's) and `cuda_graph` are how an engine runs.
    """

    cuda_memory: CudaMemory | None = None
    cuda_graph: bool = False

    library: ClassVar[LibraryName]
    devices = ("cuda", "dla")
    default_device = "cuda:0"
    int8_activations = "int8"
    suffixes = (PLAN,)

    def opens(self, file: Path) -> bool:
        """As in `Backend`; which of the two libraries an engine is of stands in its sidecar."""
        return super().opens(file) and library_of(file) in (self.library, None)

    def open(
        self,
        model: Model,
        *,
        device: str,
        threads: int | None = None,
        outputs: Sequence[str] | None = None,
    ) -> TensorrtRunner:
        engine = None
        if isinstance(model, Path):
            if not super().opens(model) or model.parent.name != ENGINES:
                raise UsageError(
                    f"{self.name} runs engines of bundles",
                    got=model,
                    hint="Use onnxruntime for it.",
                )
            engine, model = model, open_bundle(model.parent.parent, check_hashes=False)
        self.check_precision(model)
        return open_tensorrt(
            model,
            engine=engine,
            library=self.library,
            device=device,
            cuda_memory=self.cuda_memory,
            cuda_graph=self.cuda_graph,
        )

    def build(
        self, bundle: Bundle, asked: Mapping[str, Any], *, progress: Reporter | None = None
    ) -> tuple[Built, ...]:
        values = {"library": self.library, **asked}
        if values.get("compute_capabilities") == (PORTABLE,):
            values["compute_capabilities"] = ()
        options = options_for(bundle.manifest.target, **values)
        found = build_engines(bundle, options, cuda_memory=self.cuda_memory, progress=progress)
        return tuple(map(_told, found))

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
    triton = 'platform: "tensorrt_plan"'
    abilities = {  # noqa: RUF012
        "build and run TensorRT engines": ("tensorrt", "cuda.bindings"),
        "the same through pycuda": ("tensorrt", "pycuda"),
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
        """Both built from one timing cache, three times each, and compared layer by layer.

        Raises `MissingLibraryError` without the library, `EngineError` where it or this machine's
        GPU is not the target's, `BackendError` without a driver or GPU.
        """
        opened = open_library("tensorrt", "comparing engines")
        cuda_memory = self.cuda_memory or "cuda-bindings"
        if isinstance(candidate, Bundle):
            target = candidate.manifest.target
            cuda_memory = self.cuda_memory or target.cuda_memory
            check_range(opened, target)
            options = options_for(target, library="tensorrt", device=device)
            building_gpu(target, options, cuda_memory)
        else:
            options = build_options(library="tensorrt", device=device)
        with tempfile.TemporaryDirectory(prefix="artoolkit-plan-") as folder:
            forms, models = _in_one_form(baseline, candidate, Path(folder))
            answer = compare_engines(
                *models,
                Path(folder),
                options,
                refit=self.refit,
                cuda_memory=cuda_memory,
                progress=_heard(progress, "engine of the"),
            )
        return replace(answer, numbers={**answer.numbers, "forms": list(forms)})


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

    def memory(
        self, model: Model, *, device: str, threads: int | None = None
    ) -> tuple[str, MemoryComponents]:
        """As in `Backend`; without a driver, as the bundle's engine compiles ahead of time."""
        if driver_gpus() or not isinstance(model, Bundle):
            return super().memory(model, device=device, threads=threads)
        target = model.manifest.target
        with tempfile.TemporaryDirectory(prefix="artoolkit-memory-") as folder:
            form, plan = Path(folder) / "form.onnx", Path(folder) / f"engine{PLAN}"
            write_form(model.model, target.forms, form)
            built = build_in_process(form, plan, options_for(target, library=self.library))
        if built.activation_bytes is None or built.weights_bytes is None:
            raise UnavailableError("the build log did not tell the engine's memory")
        return AHEAD_OF_TIME, MemoryComponents(
            program_bytes=built.plan_bytes,
            weights_bytes=built.weights_bytes,
            activations_bytes=built.activation_bytes,
            io_bytes=_tensor_bytes(target.tensors),
        )

    def compare_programs(
        self,
        baseline: Model,
        candidate: Model,
        *,
        device: str,
        trained: Collection[str] | None = None,
        progress: Progress | None = None,
    ) -> ProgramComparison:
        """Program bytes, compared ahead of time, without a GPU."""
        version = open_library("tensorrt-rtx", "comparing compiled programs").version
        asked: dict[str, Any] = {}
        if isinstance(candidate, Bundle):
            target = candidate.manifest.target
            asked["compute_capabilities"] = target.compute_capabilities or (PORTABLE,)
            asked["precision"] = target.precision
        if trained is None:
            from artoolkit.graph.identity import weights_by_rule

            trained = weights_by_rule(load_onnx(onnx_of(baseline), "comparing compiled programs"))
        with tempfile.TemporaryDirectory(prefix="artoolkit-plan-") as folder:
            forms, models = _in_one_form(baseline, candidate, Path(folder))
            answer = in_words(
                compare_programs(
                    *models, trained=trained, progress=_heard(progress, "RTX"), **asked
                )
            )
        return replace(
            answer,
            numbers={
                "library": self.library,
                "library_version": version,
                **answer.numbers,
                "forms": list(forms),
            },
        )


def _in_one_form(
    baseline: Model, candidate: Model, folder: Path
) -> tuple[tuple[str, ...], tuple[Path, Path]]:
    """The forms that the candidate's engine is built from, and the files of both in them."""
    if not isinstance(candidate, Bundle):
        return (), (onnx_of(baseline), onnx_of(candidate))
    forms = candidate.manifest.target.forms
    files = folder / "baseline.onnx", folder / "candidate.onnx"
    for model, file in zip((baseline, candidate), files, strict=True):
        write_form(onnx_of(model), forms, file)
    return forms, files


def _heard(progress: Progress | None, what: str) -> Callable[[str, float], bool]:
    """`progress` as a build takes it: it never cancels."""

    def heard(phase: str, share: float) -> bool:
        if progress is not None:
            progress(f"{what} {phase}", share)
        return True

    return heard


def _tensor_bytes(tensors: Sequence[TensorSpec]) -> int:
    return sum(math.prod(t.shape) * np.dtype(t.dtype).itemsize for t in tensors)


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
        io_bytes=_tensor_bytes((*spec.inputs, *spec.outputs)),
    )


def _told(engine: Engine) -> Built:
    sidecar, plan = engine.sidecar, engine.plan
    capabilities = (f"SM{c}" if c.isdecimal() else c for c in sidecar.compute_capabilities)
    made_by = f"{sidecar.library} {sidecar.library_version}, {sidecar.options.precision}"
    runs_on, seconds = sidecar.gpu or ", ".join(capabilities), sidecar.seconds
    form = f"artoolkit build {plan.parent.parent} --onnx {plan.stem}.onnx && "
    rows = {
        "engine": f"{plan}, {sidecar.plan_bytes:,} bytes",
        "built by": f"{made_by}, for {runs_on}, in {seconds:.1f} s",
        "activations": _bytes(sidecar.activation_bytes),
        "weights": _bytes(sidecar.weights_bytes),
        "the same with NVIDIA's tool": (form if sidecar.forms else "") + sidecar.trtexec,
    }
    return Built(plan, sidecar.model_dump(mode="json"), rows)


def _bytes(size: int | None) -> str:
    return "not told by the build log" if size is None else f"{size:,} bytes"
