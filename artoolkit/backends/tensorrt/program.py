"""The proof of "no runtime cost": two checkpoints of one network compile to the same program.

TensorRT for RTX builds without a GPU and byte for byte reproducibly. The baseline is built, and
again with every byte of its trained parameters flipped: the bytes of the plan that differ are the
weights, exactly as many as the ONNX file holds, and all other bytes are the program, the layers,
fusions, kernels, launch geometry and memory plan. The candidate's program bytes must equal them.

It says nothing about wall-clock time: kernels of convolutions are picked on the device, and power
depends on data. Measure as well. Read next: `artoolkit.backends.tensorrt.weights`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from artoolkit.backends.backend import ProgramComparison, Result
from artoolkit.backends.tensorrt.build import BuiltPlan, build_in_process
from artoolkit.backends.tensorrt.library import RTX_CAPABILITIES, open_library
from artoolkit.backends.tensorrt.operations import first_difference, program_operations
from artoolkit.backends.tensorrt.options import PORTABLE, BuildOptions, build_options
from artoolkit.backends.tensorrt.weights import TrainedWeights, trained_weights, write_flipped
from artoolkit.errors import ExportError
from artoolkit.fresh_process import Progress
from artoolkit.spec import Frozen
from artoolkit.words import Precision

_PURPOSE = "comparing compiled programs"


class ProgramCheck(Frozen):
    """The comparison for one set of compute capabilities.

    `total_bytes` is the baseline's plan, of which `weight_bytes` are weights and `program_bytes`
    the program; `differing_bytes` are the candidate's program bytes that are not the baseline's,
    None where `method` is "operations": scales of int8 graphs are merged and multiplied into each
    other, so that only what the program does and where it keeps it can be compared.
    Memory is what the build log announces, (baseline, candidate).
    """

    compute_capability: str
    result: Result
    reason: str
    method: Literal["bytes", "operations"]
    total_bytes: int
    weight_bytes: int
    program_bytes: int
    differing_bytes: int | None
    operations: int
    activation_bytes: tuple[int | None, int | None]
    weights_memory_bytes: tuple[int | None, int | None]

    @property
    def same_memory(self) -> bool:
        """Whether activations and weights take exactly the same bytes."""
        memory = (self.activation_bytes, self.weights_memory_bytes)
        return all(a is not None and a == b for a, b in memory)


def compare_programs(
    baseline_onnx: Path,
    candidate_onnx: Path,
    *,
    trained: Collection[str],
    compute_capabilities: Collection[str] = (PORTABLE,),
    precision: Precision = "fp32",
    progress: Progress | None = None,
) -> tuple[ProgramCheck, ...]:
    """Compare the compiled programs of two ONNX files, weights aside.

    `trained` names the initialisers that are trained parameters. Each of `compute_capabilities`
    ("86", "89", "120", "portable") is checked by itself; one that RTX does not list is checked as
    portable, which is how it would be built. Needs no GPU. Raises `MissingLibraryError` without
    tensorrt_rtx or onnx, `EngineError` for a file that RTX does not build.
    """
    open_library("tensorrt-rtx", _PURPOSE)
    weights = trained_weights(baseline_onnx, trained)
    programs = []
    for capability in dict.fromkeys(map(_known, compute_capabilities)):
        with tempfile.TemporaryDirectory(prefix="artoolkit-plan-") as folder:
            check = _Comparison(Path(folder), capability, precision, progress)
            programs.append(check.compare(baseline_onnx, candidate_onnx, trained, weights))
    return tuple(programs)


def in_words(programs: Sequence[ProgramCheck]) -> ProgramComparison:
    """The answer over all compute capabilities: the worst, with its places and reasons."""
    order: tuple[Result, ...] = ("FAIL", "UNDECIDED", "PASS")
    result = next(r for r in order if r in {program.result for program in programs})
    deciding = [program for program in programs if program.result == result]
    return ProgramComparison(
        result=result,
        headline=_HEADLINES[result],
        details=tuple(f"{p.compute_capability}: {p.reason or _proof(p)}" for p in deciding),
        numbers={"programs": [program.model_dump(mode="json") for program in programs]},
    )


_HEADLINES = {
    "PASS": "the compiled program is identical",
    "FAIL": "the compiled program differs",
    "UNDECIDED": "the compiled program cannot be told from its weights",
}


def _proof(program: ProgramCheck) -> str:
    if program.method == "operations":
        return f"the same {program.operations} operations and memory plan (int8)"
    return f"{program.total_bytes:,} bytes, of which {program.weight_bytes:,} are weights"


class _Comparison:
    """Builds and compares for one set of capabilities, in one temporary folder."""

    def __init__(
        self, folder: Path, capability: str, precision: Precision, progress: Progress | None
    ) -> None:
        self._folder, self._progress = folder, progress
        self._options = _options(capability, precision)

    def _build(self, onnx: Path, what: str) -> tuple[BuiltPlan, bytes]:
        plan = self._folder / f"{what}.plan"
        label = f"{what} {self._options.capabilities_label}"

        def report(phase: str, share: float) -> bool:
            return self._progress is None or self._progress(f"{label}: {phase}", share)

        built = build_in_process(onnx, plan, self._options, progress=report)
        content = plan.read_bytes()
        plan.unlink()
        return built, content

    def compare(
        self, baseline: Path, candidate: Path, trained: Collection[str], weights: TrainedWeights
    ) -> ProgramCheck:
        built_a, plan_a = self._build(baseline, "baseline")
        built_b, plan_b = self._build(candidate, "candidate")
        differing = None
        if weights.quantised:
            result, reason = _by_operations(plan_a, plan_b)
        else:
            mask = self._weight_mask(baseline, trained, plan_a)
            if reason := _no_proof(mask, weights):
                result = "UNDECIDED"
            else:
                differing = _differing(plan_a, plan_b, mask)
                result, reason = _decided(plan_a, plan_b, differing, candidate, trained)
        return ProgramCheck(
            compute_capability=self._options.capabilities_label,
            result=result,
            reason=reason,
            method="operations" if weights.quantised else "bytes",
            total_bytes=len(plan_a),
            weight_bytes=weights.bytes,
            program_bytes=len(plan_a) - weights.bytes,
            differing_bytes=differing,
            operations=len(program_operations(plan_a)),
            activation_bytes=(built_a.activation_bytes, built_b.activation_bytes),
            weights_memory_bytes=(built_a.weights_bytes, built_b.weights_bytes),
        )

    def _weight_mask(
        self, baseline: Path, trained: Collection[str], plan: bytes
    ) -> NDArray[np.bool_]:
        """Which bytes of the baseline's plan are weights; empty where flipping changed its size."""
        flipped = self._folder / "flipped.onnx"
        write_flipped(baseline, trained, flipped)
        _, other = self._build(flipped, "flipped")
        if len(other) != len(plan):
            return np.zeros(0, np.bool_)
        mask: NDArray[np.bool_] = np.frombuffer(plan, np.uint8) != np.frombuffer(other, np.uint8)
        return mask


def _known(capability: str) -> str:
    names = capability.replace("sm", "").split("-")
    return capability if set(names) <= set(RTX_CAPABILITIES) else PORTABLE


def _options(capability: str, precision: Precision) -> BuildOptions:
    several = () if capability == PORTABLE else tuple(capability.replace("sm", "").split("-"))
    return build_options(library="tensorrt-rtx", compute_capabilities=several, precision=precision)


def _differing(plan_a: bytes, plan_b: bytes, mask: NDArray[np.bool_]) -> int:
    """How many program bytes differ; a plan of another length differs everywhere."""
    if len(plan_a) != len(plan_b):
        return int((~mask).sum())
    unequal = np.frombuffer(plan_a, np.uint8) != np.frombuffer(plan_b, np.uint8)
    return int((unequal & ~mask).sum())


def _decided(
    plan_a: bytes, plan_b: bytes, differing: int, candidate: Path, trained: Collection[str]
) -> tuple[Result, str]:
    if differing == 0:
        return "PASS", ""
    where = first_difference(plan_a, plan_b)
    reason = f"{differing:,} program bytes differ"
    if len(plan_a) != len(plan_b):
        reason = f"{len(plan_a):,} against {len(plan_b):,} bytes"
    reason += f"; first at {where}" if where else ""
    try:
        merging = trained_weights(candidate, trained).merging
    except ExportError as error:
        merging = (str(error),)
    return "FAIL", f"{reason}; in the candidate {merging[0]}" if merging else reason


def _by_operations(plan_a: bytes, plan_b: bytes) -> tuple[Result, str]:
    if not program_operations(plan_a):
        return "UNDECIDED", "this version's plans do not tell their operations"
    where = first_difference(plan_a, plan_b)
    return ("FAIL", where) if where else ("PASS", "")


def _no_proof(mask: NDArray[np.bool_], weights: TrainedWeights) -> str:
    """Why the mask does not separate weights from program; empty where it does, exactly."""
    found = int(mask.sum())
    if found == weights.bytes:
        return ""
    what = f"{found:,} bytes of the plan are weights where the ONNX file holds {weights.bytes:,}"
    if not mask.size:
        what = "flipping the weights changed the size of the plan"
    return f"{what}; {weights.merging[0]}" if weights.merging else what
