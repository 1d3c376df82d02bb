"""The plan check for `tensorrt`, which times tactics on the device and so may never build the same
plan twice: a controlled pair.

One timing cache decides: the first build of the baseline fills it, every other build, of both arms,
may only read it and fails where it needs a tactic that the cache lacks. At least three builds an
arm show the spread before anything is claimed; then layers, tactics, formats and memory must equal.
"""

from __future__ import annotations

from pathlib import Path

from artoolkit.backends.backend import ProgramComparison, Result
from artoolkit.backends.tensorrt.build import build_in_process
from artoolkit.backends.tensorrt.layers import PlanLayers, inspect_plan, refit_plan
from artoolkit.backends.tensorrt.library import open_library
from artoolkit.backends.tensorrt.options import BuildOptions
from artoolkit.errors import EngineError
from artoolkit.fresh_process import Progress
from artoolkit.words import CudaMemory

LEAST_BUILDS = 3
_PURPOSE = "comparing engines"


class _Arm:
    """The builds of one network from one timing cache."""

    def __init__(
        self, onnx: Path, name: str, folder: Path, cuda: CudaMemory, progress: Progress | None
    ) -> None:
        self.name, self._onnx, self._folder = name, onnx, folder
        self._cuda, self._progress = cuda, progress
        self.plans: list[PlanLayers] = []
        self.plan_bytes: list[int] = []

    def build(self, options: BuildOptions) -> None:
        number = len(self.plans) + 1
        plan = self._folder / f"{self.name}-{number}.plan"

        def report(phase: str, share: float) -> bool:
            label = f"{self.name} {number}: {phase}"
            return self._progress is None or self._progress(label, share)

        built = build_in_process(self._onnx, plan, options, cuda_memory=self._cuda, progress=report)
        self.plans.append(inspect_plan(plan))
        self.plan_bytes.append(built.plan_bytes)

    def spread(self) -> str | None:
        """The first difference between this arm's own builds."""
        first = self.plans[0]
        return next((d for other in self.plans[1:] if (d := first.difference(other))), None)

    @property
    def memory(self) -> list[int]:
        return [plan.device_memory_bytes for plan in self.plans]


def compare_engines(
    baseline_onnx: Path,
    candidate_onnx: Path,
    folder: Path,
    options: BuildOptions,
    *,
    builds: int = LEAST_BUILDS,
    refit: bool = False,
    cuda_memory: CudaMemory = "cuda-bindings",
    progress: Progress | None = None,
) -> ProgramComparison:
    """Build both networks `builds` times with `tensorrt` in `folder` and compare their engines.

    PASS: all engines of both arms are equal. FAIL: the candidate needs another tactic, or its
    engines are equal among themselves and not the baseline's. UNDECIDED: an arm's builds differ
    among themselves. `refit` adds whether the candidate's weights go into the baseline's engine.
    Raises `MissingLibraryError`, `EngineError` where the baseline is not built, `ValueError` for
    fewer than three builds.
    """
    if builds < LEAST_BUILDS:
        raise ValueError(f"{builds} builds show no spread; at least {LEAST_BUILDS} are needed")
    version = open_library("tensorrt", _PURPOSE).version
    cache = folder / "timing.cache"
    cache.unlink(missing_ok=True)
    first = options.model_copy(update={"timing_cache": cache, "error_on_timing_cache_miss": False})
    again = first.model_copy(update={"error_on_timing_cache_miss": True})
    baseline = _Arm(baseline_onnx, "baseline", folder, cuda_memory, progress)
    candidate = _Arm(candidate_onnx, "candidate", folder, cuda_memory, progress)
    for index in range(builds):
        baseline.build(again if index else first)
    refused = _build_candidate(candidate, again, builds)
    result, headline, details = _verdict(baseline, candidate, refused)
    if refit:
        told = _refit(baseline_onnx, candidate_onnx, folder, again, cuda_memory)
        details = (*details, f"refit: {told}")
    return ProgramComparison(
        result=result,
        headline=headline,
        details=details,
        numbers={
            "library": "tensorrt",
            "library_version": version,
            "builds": builds,
            "layers": len(baseline.plans[0].layers),
            "plan_bytes": [baseline.plan_bytes, candidate.plan_bytes],
            "device_memory_bytes": [baseline.memory, candidate.memory],
        },
    )


def _build_candidate(candidate: _Arm, options: BuildOptions, builds: int) -> str | None:
    """Reason why the candidate could not be built from the baseline's timings, or None."""
    try:
        for _ in range(builds):
            candidate.build(options)
    except EngineError as error:
        return error.what
    return None


def _verdict(
    baseline: _Arm, candidate: _Arm, refused: str | None
) -> tuple[Result, str, tuple[str, ...]]:
    """The result, its headline and its details."""
    for arm in (baseline, candidate):
        if len(arm.plans) > 1 and (spread := arm.spread()):
            return "UNDECIDED", f"builds of the {arm.name} differ among themselves", (spread,)
    if refused is not None:
        return "FAIL", "the candidate was not built from the baseline's timings", (refused,)
    difference = baseline.plans[0].difference(candidate.plans[0])
    if difference is not None:
        return "FAIL", "the engines differ", (difference,)
    first, builds = baseline.plans[0], len(baseline.plans)
    return (
        "PASS",
        "the engines are equal",
        (
            f"{len(first.layers)} layers with the same tactics and formats",
            f"{first.device_memory_bytes:,} bytes of device memory",
            f"{builds} builds of each",
        ),
    )


def _refit(
    baseline: Path, candidate: Path, folder: Path, options: BuildOptions, cuda: CudaMemory
) -> str:
    """A refittable plan is another program, so its timings are its own."""
    refittable = options.model_copy(
        update={"timing_cache": None, "error_on_timing_cache_miss": False, "refittable": True}
    )
    plan = folder / "refittable.plan"
    try:
        build_in_process(baseline, plan, refittable, cuda_memory=cuda)
        problem = refit_plan(plan, candidate)
    except EngineError as error:
        problem = str(error)
    return problem or "every weight of the candidate has its place in the baseline's engine"
