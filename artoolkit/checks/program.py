"""The program check: the runtime makes the same program of both, weights aside.

The backend compares (`Backend.compare_programs`). Backends that do so ahead of time, without their
device, answer wherever another one runs: each has a row of its own, which decides nothing.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, Literal

from artoolkit.backends import backend_named, backend_names
from artoolkit.backends.backend import Backend
from artoolkit.checks.contest import Pair
from artoolkit.checks.kind import CheckKind, Records, Terms
from artoolkit.evidence.verdict import Check, PairRecord, Result, in_brief

NAME = "program"


class ProgramMeasurement(PairRecord):
    """What a backend said of the two programs."""

    KIND: ClassVar[str] = "program"

    kind: Literal["program"]
    schema_version: Literal["1"]
    backend: str
    device: str
    result: Result
    headline: str
    details: tuple[str, ...]
    numbers: dict[str, Any]


def compared(pair: Pair, backend: Backend, device: str) -> ProgramMeasurement:
    found = backend.compare_programs(
        pair.baseline.model,
        pair.candidate.model,
        device=device,
        trained=pair.baseline.trained,
        progress=pair.settings.progress,
    )
    return ProgramMeasurement(
        **pair.header(ProgramMeasurement),
        backend=backend.name,
        device=device,
        result=found.result,
        headline=found.headline,
        details=found.details,
        numbers=found.numbers,
    )


def measure(pair: Pair) -> Records:
    pair.report("compiled programs", 0.0)
    return {"program.json": compared(pair, pair.backend, pair.device)}


def judge(records: Records, terms: Terms) -> Check:
    (record,) = records.values()
    details = [text for text in record.details if text != record.headline]
    brief = in_brief(record.headline, *details)
    return Check(name=NAME, result=record.result, **brief, numbers=record.numbers)


PROGRAM = CheckKind(
    name=NAME,
    question="Is the compiled program the same?",
    records={"program.json": ProgramMeasurement},
    measure=measure,
    judge=judge,
    again="trust",
)


def _measure_ahead(pair: Pair, *, name: str) -> Records | None:
    """Of a bundle: its target says what is compiled for."""
    if pair.backend.name == name or pair.candidate.manifest is None:
        return None
    backend = backend_named(name)
    device = backend.device_for(pair.candidate.model)
    return {f"program-{name}.json": compared(pair, backend, device)}


def ahead_of_time(name: str) -> CheckKind:
    """The check of what the backend called `name` would compile, without its device."""
    title = backend_named(name).title
    return CheckKind(
        name=f"{NAME} ({title})",
        question=f"Would {title} compile the same program? Reported wherever another runtime runs",
        records={f"program-{name}.json": ProgramMeasurement},
        measure=partial(_measure_ahead, name=name),
        judge=judge,
        again="trust",
        required=False,
    )


AHEAD_OF_TIME = tuple(
    ahead_of_time(name) for name in backend_names() if backend_named(name).ahead_of_time
)
