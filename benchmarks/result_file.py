"""The one form of a result file: a sealed record with its suite, settings and raw values."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from artoolkit.evidence.records import Record, header
from artoolkit.evidence.seal import write_atomically

RESULTS = Path(__file__).parent / "results"


class ResultFile(Record):
    """Result of a benchmark: `raw` values, from which every printed number can be made again."""

    KIND: ClassVar[str] = "benchmark"

    suite: str
    machine: str
    device: str
    settings: dict[str, Any]
    raw: dict[str, Any]

    @property
    def file_name(self) -> str:
        return result_path(self.suite, machine=self.machine, device=self.device).name


def result_path(suite: str, *, machine: str, device: str, folder: Path | None = None) -> Path:
    """Path of a suite's result file; `machine` is a kind, never a host name."""
    return (folder or RESULTS) / f"{suite}--{machine}--{device}.json"


def write_result(
    suite: str,
    *,
    machine: str,
    device: str,
    settings: dict[str, Any],
    raw: dict[str, Any],
    folder: Path | None = None,
) -> Path:
    """Write the sealed result file, atomically, and return its path."""
    result = ResultFile(
        **header(ResultFile),
        suite=suite,
        machine=machine,
        device=device,
        settings=settings,
        raw=raw,
    )
    path = result_path(suite, machine=machine, device=device, folder=folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, result.to_bytes())
    return path
