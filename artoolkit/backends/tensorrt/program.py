"""The proof of "no runtime cost": two checkpoints of one network compile to the same program.

TensorRT for RTX builds without a GPU and byte for byte reproducibly. Its plan is a program (layers,
fusions, kernels, launch geometry, memory plan) and a section of constants, weights among them. The
proof is that every byte beside the constants is equal, and every constant that is not trained.

Where that fails, values may be the reason: equal constants are stored once, which moves the others.
Then both graphs are built again with the same seeded weights, which no compiler can merge. If these
are equal to the byte, and the real programs have the same operations, launches and memory plan, the
answer is PASS too; `method` and the details say that it is the weaker one.

It says nothing about wall-clock time: kernels of convolutions are picked on the device, and power
depends on data. Measure as well. Read next: `artoolkit.backends.tensorrt.weights`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from artoolkit.backends.backend import ProgramComparison, Result
from artoolkit.backends.tensorrt.build import BuiltPlan, build_in_process
from artoolkit.backends.tensorrt.library import RTX_CAPABILITIES, open_library
from artoolkit.backends.tensorrt.operations import (
    first_difference,
    program_operations,
    split_plan,
)
from artoolkit.backends.tensorrt.options import PORTABLE, BuildOptions, build_options
from artoolkit.backends.tensorrt.weights import TrainedWeights, trained_weights
from artoolkit.fresh_process import Progress
from artoolkit.graph.forms import write_seeded
from artoolkit.spec import Frozen
from artoolkit.words import Precision

_PURPOSE = "comparing compiled programs"
_ROLES = ("baseline", "candidate")


class ProgramCheck(Frozen):
    """The comparison for one set of compute capabilities.

    `total_bytes` is the baseline's plan, of which `weight_bytes` are its section of constants and
    `program_bytes` all else; `differing_bytes` are the candidate's program bytes that are not the
    baseline's, None where `method` is "operations". `merged` says of each side why its constants
    lie elsewhere than seeded weights would, "" where they do not. Memory is what the build log
    announces, (baseline, candidate).
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
    merged: tuple[str, str] = ("", "")

    @property
    def same_memory(self) -> bool:
        """True if activations and weights take exactly the same bytes."""
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
    pair = Pair(
        (baseline_onnx, candidate_onnx),
        (trained_weights(baseline_onnx, trained), trained_weights(candidate_onnx, trained)),
    )
    programs = []
    for capability in dict.fromkeys(map(_known, compute_capabilities)):
        with tempfile.TemporaryDirectory(prefix="artoolkit-plan-") as folder:
            check = _Comparison(Path(folder), capability, precision, progress)
            programs.append(check.compare(pair))
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
    if program.method == "bytes":
        return (
            f"all {program.program_bytes:,} bytes of the program are equal, beside "
            f"{program.weight_bytes:,} bytes of weights"
        )
    merged = "; ".join(dict.fromkeys(filter(None, program.merged))) or "int8 scales"
    return (
        f"the same {program.operations} operations, launches and memory plan, and equal bytes with "
        f"seeded weights; with their own, constants are merged ({merged})"
    )


@dataclass(frozen=True)
class Pair:
    """Baseline and candidate: the ONNX files, and what is trained in each."""

    files: tuple[Path, Path]
    weights: tuple[TrainedWeights, TrainedWeights]


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

    def compare(self, pair: Pair) -> ProgramCheck:
        built, plans = zip(
            *(self._build(f, r) for f, r in zip(pair.files, _ROLES, strict=True)), strict=True
        )
        a, b = (split_plan(plan) for plan in plans)
        method: Literal["bytes", "operations"] = "bytes"
        if a is None or b is None:
            result, reason = _by_operations(*plans)
            method, differing = "operations", None
        else:
            differing = _differing(a.program, b.program)
            result, reason = self._decided(pair, plans, differing)
            if differing and result == "PASS":
                method, differing = "operations", None
        weight_bytes = a.constants_bytes if a else 0
        return ProgramCheck(
            compute_capability=self._options.capabilities_label,
            result=result,
            reason=reason,
            method=method,
            total_bytes=len(plans[0]),
            weight_bytes=weight_bytes,
            program_bytes=len(plans[0]) - weight_bytes,
            differing_bytes=differing,
            operations=len(program_operations(plans[0])),
            activation_bytes=(built[0].activation_bytes, built[1].activation_bytes),
            weights_memory_bytes=(built[0].weights_bytes, built[1].weights_bytes),
            merged=(pair.weights[0].merged, pair.weights[1].merged),
        )

    def _decided(self, pair: Pair, plans: Sequence[bytes], differing: int) -> tuple[Result, str]:
        one, other = pair.weights
        where = first_difference(*plans) if differing else None
        moved = one.quantised or one.merged or other.merged
        if not differing or (moved and not where and self._equal_when_seeded(pair)):
            # Scales of activations are constants too, and each calibration has its own.
            changed = "" if one.quantised else one.other_constant(other)
            return ("FAIL", f"another constant: {changed}") if changed else ("PASS", "")
        reason = f"{differing:,} program bytes differ"
        if len(plans[0]) != len(plans[1]):
            reason = f"{len(plans[0]):,} against {len(plans[1]):,} bytes"
        reason += f"; first at {where}" if where else ""
        return "FAIL", f"{reason}; in the candidate {other.merged}" if other.merged else reason

    def _equal_when_seeded(self, pair: Pair) -> bool:
        """True if both graphs with the same weights, which nothing merges, give the same engine."""
        found = []
        for file, weights, role in zip(pair.files, pair.weights, _ROLES, strict=True):
            seeded = self._folder / "seeded.onnx"
            write_seeded(file, weights.names, seeded)
            found.append(self._build(seeded, f"{role}, seeded")[1])
        return found[0] == found[1]


def _known(capability: str) -> str:
    names = capability.replace("sm", "").split("-")
    return capability if set(names) <= set(RTX_CAPABILITIES) else PORTABLE


def _options(capability: str, precision: Precision) -> BuildOptions:
    several = () if capability == PORTABLE else tuple(capability.replace("sm", "").split("-"))
    return build_options(library="tensorrt-rtx", compute_capabilities=several, precision=precision)


def _differing(program_a: bytes, program_b: bytes) -> int:
    """Number of program bytes that differ; a program of another length differs everywhere."""
    if len(program_a) != len(program_b):
        return len(program_a)
    return int((np.frombuffer(program_a, np.uint8) != np.frombuffer(program_b, np.uint8)).sum())


def _by_operations(plan_a: bytes, plan_b: bytes) -> tuple[Result, str]:
    if not program_operations(plan_a):
        return "UNDECIDED", "this version's plans are in a form that is not known"
    where = first_difference(plan_a, plan_b)
    return ("FAIL", where) if where else ("PASS", "")
