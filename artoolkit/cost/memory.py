"""What a network needs in memory on one backend: the record of a measurement.

The components come from the backend and are compared exactly. A process's peak is measured too
(`artoolkit.cost.worker`), and reported with its spread, never compared exactly.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from artoolkit.evidence.records import Record
from artoolkit.evidence.verdict import Subject
from artoolkit.graph.memory import MemoryComponents
from artoolkit.spec import Frozen


class ProcessMemory(Frozen):
    """Resident bytes of a fresh process: before opening, peaks of several runs, torch absent."""

    before_bytes: int
    peak_bytes: tuple[int, ...]
    torch_imported: bool


class MemoryMeasurement(Record):
    """What one network needs on one backend; `source` says where the components come from."""

    KIND: ClassVar[str] = "memory"

    kind: Literal["memory"]
    schema_version: Literal["1"]
    subject: Subject
    source: str
    components: MemoryComponents
    process: ProcessMemory | None = None
