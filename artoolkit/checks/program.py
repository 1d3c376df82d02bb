"""The program check: the runtime makes the same program of both, weights aside.

The backend compares (`Backend.compare_programs`). Backends that do so ahead of time, without their
device, answer wherever another one runs: each has a row of its own, which decides nothing.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from artoolkit.backends import backend_named, backend_names
from artoolkit.backends.backend import Backend
from artoolkit.checks.contest import Pair
from artoolkit.checks.kind import CheckKind, Records, Terms
from artoolkit.evidence.verdict import Check, PairRecord, in_brief

NAME = "program"


class ProgramMeasurement(PairRecord):
    """Answer of a backend about the two programs."""

    KIND: ClassVar[str] = "program"

    backend: str
    device: str
    answer: Check


def _compared(pair: Pair, backend: Backend, device: str) -> ProgramMeasurement:
    found = backend.compare_programs(
        pair.baseline.model,
        pair.candidate.model,
        device=device,
        trained=pair.baseline.trained,
        progress=pair.progress,
    )
    brief = in_brief(found.headline, *found.details)
    answer = Check(name=NAME, result=found.result, **brief, numbers=found.numbers)
    return pair.record(ProgramMeasurement, backend=backend.name, device=device, answer=answer)


def measure(pair: Pair) -> Records:
    pair.progress("compiled programs", 0.0)
    return {"program.json": _compared(pair, pair.backend, pair.device)}


def _measure_ahead(pair: Pair, *, name: str) -> Records | None:
    """Of a bundle: its target says what is compiled for."""
    if pair.backend.name == name or pair.candidate.manifest is None:
        return None
    backend = backend_named(name)
    device = backend.device_for(pair.candidate.model)
    return {f"program-{name}.json": _compared(pair, backend, device)}


def judge(records: Records, terms: Terms) -> Check:
    (record,) = records.values()
    answer: Check = record.answer
    return answer


PROGRAM = CheckKind(
    name=NAME,
    question="Is the compiled program the same?",
    records={"program.json": ProgramMeasurement},
    measure=measure,
    judge=judge,
    again="trust",
)


def ahead_of_time(backend: Backend) -> CheckKind:
    """The check of what a backend would compile, without its device."""
    return CheckKind(
        name=f"{NAME} ({backend.title})",
        question=f"Would {backend.title} compile the same program? Reported, never required",
        records={f"program-{backend.name}.json": ProgramMeasurement},
        measure=partial(_measure_ahead, name=backend.name),
        judge=judge,
        again="trust",
        portable=True,
        required=False,
    )


AHEAD_OF_TIME = tuple(
    ahead_of_time(backend)
    for backend in map(backend_named, backend_names())
    if backend.ahead_of_time
)
