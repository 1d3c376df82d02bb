"""Does the verdict in a bundle follow from the measurements beside it?

The hashes of a verdict lead to its measurements, and the answers to latency, memory and accuracy
are made again from those raw numbers. So a verdict that was written anew, with every hash around it
put right, is still found unless its measurements were forged to fit; `signature.py` is for that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from artoolkit.checks.accuracy import check_accuracy
from artoolkit.checks.latency_check import check_latency
from artoolkit.checks.memory import check_memory
from artoolkit.cost.latency_record import LatencyMeasurement
from artoolkit.cost.memory import MemoryMeasurement
from artoolkit.errors import BundleError
from artoolkit.evaluation.quality import QualityMeasurement
from artoolkit.evidence.bundle import Bundle
from artoolkit.evidence.records import current_environment, read_record
from artoolkit.evidence.seal import read_sealed
from artoolkit.evidence.verdict import Check, Verdict, meaning

VERDICT = "verdict.json"
# The same numbers on another processor: far more than rounding, far less than what decides.
TOLERANCE = 1e-6


def check_evidence(bundle: Bundle) -> Check | None:
    """PASS if the verdict in `evidence/` is this bundle's and follows; None where there is none."""
    path = bundle.evidence / VERDICT
    if not path.is_file():
        return None
    try:
        verdict = read_record(path, Verdict)
        found = [*_chain_problems(bundle, verdict), *_answer_problems(bundle, verdict)]
    except BundleError as error:
        found = [str(error)]
    if found:
        return Check(
            name="evidence", result="FAIL", summary="; ".join(found), numbers={"problems": found}
        )
    return Check(
        name="evidence",
        result="PASS",
        summary=f"the verdict {verdict.result} is of this bundle and follows from its "
        f"{len(verdict.measurements)} measurements",
    )


def _chain_problems(bundle: Bundle, verdict: Verdict) -> Iterator[str]:
    """Links of the chain manifest <- verdict -> measurements that do not hold."""
    path = bundle.evidence / VERDICT
    if verdict.candidate.sha256 != bundle.manifest.sha256:
        yield f"{path} is the verdict of another bundle: it names another manifest"
    for name, sha256 in verdict.measurements.items():
        record = bundle.evidence / name
        if not record.is_file():
            yield f"{record} is missing, and {path} rests on it"
        elif read_sealed(record)["sha256"] != sha256:
            yield f"{record} is not the measurement that {path} was made from"
    if verdict.meaning != meaning(verdict.checks):
        yield f"{path}: its sentence is not what its checks amount to"


def _answer_problems(bundle: Bundle, verdict: Verdict) -> Iterator[str]:
    """Checks whose answer is not what their measurements give."""
    path = bundle.evidence / VERDICT
    for check in verdict.checks:
        remade = _REMADE.get(check.name)
        if remade is None or check.result == "UNAVAILABLE":
            continue
        try:
            again = remade(bundle.evidence, verdict, check)
        except FileNotFoundError:
            yield f"{path}: {check.name} {check.result} has no measurement"
            continue
        keys = None if _same_software(verdict) else _PLAIN[check.name]
        if again.result != check.result:
            yield f"{path}: {check.name} is {again.result} by its measurements, not {check.result}"
        elif place := difference(_chosen(check.numbers, keys), _chosen(again.numbers, keys)):
            yield f"{path}: {check.name}, {place} is not what its measurements give"


def _same_software(verdict: Verdict) -> bool:
    """Whether this machine draws the same resamples: numpy may change its streams."""
    there, here = verdict.environment, current_environment()
    return (there.artoolkit, there.libraries.get("numpy")) == (
        here.artoolkit,
        here.libraries.get("numpy"),
    )


def _chosen(numbers: dict[str, Any], keys: tuple[str, ...] | None) -> dict[str, Any]:
    return numbers if keys is None else {key: numbers.get(key) for key in keys}


def _record(folder: Path, name: str, record: type[Any]) -> Any:
    if not (folder / name).is_file():
        raise FileNotFoundError(name)
    return read_record(folder / name, record)


def _latency(folder: Path, _verdict: Verdict, check: Check) -> Check:
    measured = _record(folder, "latency.json", LatencyMeasurement)
    return check_latency(measured, required=check.required)


def _memory(folder: Path, _verdict: Verdict, check: Check) -> Check:
    pair = (_record(folder, f"memory-{role}.json", MemoryMeasurement) for role in _ROLES)
    return check_memory(*pair, required=check.required)


def _accuracy(folder: Path, verdict: Verdict, check: Check) -> Check:
    pair = (_record(folder, f"quality-{role}.json", QualityMeasurement) for role in _ROLES)
    return check_accuracy(
        *pair,
        margin_points=verdict.target["margins"]["accuracy_points"],
        trained_miou=check.numbers.get("trained_miou"),
        exported_margin_points=check.numbers.get("exported_margin_points"),
        required=check.required,
        seed=verdict.seed,
    )


_ROLES = ("baseline", "candidate")
# What every version of artoolkit and numpy makes alike of the same measurements.
_PLAIN = {
    "latency": ("baseline_ms", "candidate_ms", "blocks"),
    "memory": ("baseline", "candidate"),
    "accuracy": ("baseline_miou", "candidate_miou", "images"),
}
_REMADE: dict[str, Callable[[Path, Verdict, Check], Check]] = {
    "latency": _latency,
    "memory": _memory,
    "accuracy": _accuracy,
}


def difference(ours: Any, theirs: Any, place: str = "") -> str | None:
    """Where two JSON values differ by more than `TOLERANCE`, or None."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        if ours.keys() != theirs.keys():
            return place or "its numbers"
        pairs = [(ours[key], theirs[key], f"{place}.{key}".lstrip(".")) for key in ours]
    elif isinstance(ours, (list, tuple)) and isinstance(theirs, (list, tuple)):
        if len(ours) != len(theirs):
            return place
        pairs = [
            (a, b, f"{place}[{index}]")
            for index, (a, b) in enumerate(zip(ours, theirs, strict=True))
        ]
    elif isinstance(ours, float) and isinstance(theirs, (int, float)):
        same = math.isclose(ours, theirs, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        return None if same else place
    else:
        return None if ours == theirs else place
    found = (difference(a, b, where) for a, b, where in pairs)
    return next((where for where in found if where), None)
