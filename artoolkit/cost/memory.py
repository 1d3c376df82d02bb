"""Memory of a network on one backend: the record, and its peak alone in a process.

The components come from the backend and are compared exactly. A process's peak is reported with
its spread, never compared exactly: it is what the kernel counted for the process (VmHWM), which
includes the interpreter and the libraries, hence the bytes before opening.
"""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

from artoolkit.backends import backend_for, backend_named, register
from artoolkit.backends.backend import Backend
from artoolkit.cost.accelerator import device_memory
from artoolkit.cost.opening import feeds_for, model_at
from artoolkit.evidence.records import Record
from artoolkit.evidence.verdict import Subject
from artoolkit.fresh_process import Progress, call_fresh
from artoolkit.graph.memory import MemoryComponents
from artoolkit.spec import Frozen
from artoolkit.words import BACKENDS

INFERENCES = 5
# Opening and five inferences take seconds; a process that hangs must end.
_TIMEOUT_S = 300.0
_STATUS = Path("/proc/self/status")


class ProcessMemory(Frozen):
    """Resident bytes of a fresh process: before opening, peaks of several runs, torch absent.

    `device_bytes`: what each run added on the device (context, modules, activations, graphs, what
    a library compiles there), as `device_source` tells; empty for a plain CPU.
    """

    before_bytes: int
    peak_bytes: tuple[int, ...]
    torch_imported: bool
    device_bytes: tuple[int, ...] = ()
    device_source: str | None = None


class MemoryMeasurement(Record):
    """Memory of one network on one backend; `source` says where the components come from."""

    KIND: ClassVar[str] = "memory"

    subject: Subject
    source: str
    components: MemoryComponents
    process: ProcessMemory | None = None

    @property
    def subjects(self) -> tuple[Subject, ...]:
        return (self.subject,)


def resident_bytes() -> tuple[int, int]:
    """Resident memory of this process now and at its peak, in bytes."""
    if _STATUS.is_file():
        fields = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
        now, peak = (int(fields[key].split()[0]) * 1024 for key in ("VmRSS", "VmHWM"))
        return now, peak
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak *= 1 if sys.platform == "darwin" else 1024
    return peak, peak


def process_memory(
    path: Path,
    *,
    backend: Backend | None = None,
    device: str | None = None,
    threads: int | None = None,
    runs: int = 3,
) -> ProcessMemory:
    """Peaks of `runs` fresh processes that run the model at `path`, and whether torch was loaded.

    Raises what opening and running raises, `BackendError` where a process ends without an answer.
    Runs of one program differ by some pages, so the spread is part of the answer.
    """
    runs_on = backend or backend_for(model_at(path))
    request = {
        "path": str(path.absolute()),
        "backend": runs_on.name,
        "registered": BACKENDS[runs_on.name],
        "options": asdict(runs_on),
        "device": device,
        "threads": threads,
    }
    answers = [
        call_fresh(f"{__name__}:run_alone", request, what=f"of {path} alone", timeout_s=_TIMEOUT_S)
        for _ in range(runs)
    ]
    return ProcessMemory(
        before_bytes=max(answer["before"] for answer in answers),
        peak_bytes=tuple(answer["peak"] for answer in answers),
        torch_imported=any(answer["torch"] for answer in answers),
        device_bytes=tuple(answer["device_bytes"] for answer in answers if answer["source"]),
        device_source=answers[0]["source"],
    )


def run_alone(request: dict[str, Any], _: Progress) -> dict[str, Any]:
    """The other end of `process_memory`: resident bytes before opening and at the peak."""
    register(request["backend"], request["registered"])
    backend = backend_named(request["backend"], **request["options"])
    model = model_at(Path(request["path"]))
    device = backend.device_for(model, request["device"])
    before, device_before = resident_bytes()[0], device_memory(device)
    with closing(backend.open(model, device=device, threads=request["threads"])) as runner:
        batch = feeds_for(model, runner.spec)
        for _inference in range(INFERENCES):
            runner.infer(batch)
        device_after = device_memory(device)
    # The first source is the nearest: where NVML knows this process, it held nothing before.
    source = next(iter(device_after), None)
    added = device_after[source] - device_before.get(source, 0) if source else 0
    return {
        "before": before,
        "peak": resident_bytes()[1],
        "torch": "torch" in sys.modules,
        "device_bytes": added,
        "source": source,
    }
