"""Records: the fields of every measurement and verdict, written and read.

A record is a sealed JSON file (`artoolkit.evidence.seal`) with its kind, its schema version and the
environment it was made in. `python -m artoolkit.report.schema` writes their JSON schemas. A file of
another kind or version is refused by name, never half understood.
"""

from __future__ import annotations

import platform
import re
import sys
from datetime import datetime, timezone
from functools import lru_cache
from importlib import metadata
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pydantic import Field, ValidationError

from artoolkit import __version__
from artoolkit.commit import source_commit
from artoolkit.cores import usable_cores
from artoolkit.errors import BundleError
from artoolkit.evidence.seal import canonical, read_sealed, seal
from artoolkit.spec import Frozen, problems

if TYPE_CHECKING:
    from artoolkit.evidence.verdict import Subject

_LIBRARIES = (
    "numpy", "pillow", "onnx", "onnxruntime", "onnxruntime-gpu", "torch", "tensorrt",
    "tensorrt-rtx-cu13", "tensorrt_rtx", "cuda-bindings", "pycuda",
)  # fmt: skip

R = TypeVar("R", bound="Record")


class Environment(Frozen):
    """Machine and versions of a record: the installed ones, found without importing anything.

    `commit` is that of artoolkit's own source, None for a release.
    """

    artoolkit: str
    commit: str | None = None
    python: str
    platform: str
    processor: str
    cores: int
    governor: str | None = None
    libraries: dict[str, str] = Field(default_factory=dict)
    device: dict[str, str] = Field(default_factory=dict)


class Record(Frozen):
    """Base of all records; `KIND` and `VERSION` of a subclass are its `kind` and version."""

    KIND: ClassVar[str]
    VERSION: ClassVar[str] = "1"

    kind: str
    schema_version: str
    created: str
    command: tuple[str, ...]
    environment: Environment

    @property
    def subjects(self) -> tuple[Subject, ...]:
        """The bundles or files that the record is of, the baseline before the candidate."""
        return ()

    def to_bytes(self) -> bytes:
        """The sealed file: canonical JSON with its own sha256. Raises `ValueError` on NaN."""
        return canonical(seal(self.model_dump(mode="json")))

    def sha256(self) -> str:
        """The hash that the sealed file carries."""
        return str(seal(self.model_dump(mode="json"))["sha256"])


@lru_cache
def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model", "Hardware"):
                return value.strip()
    return platform.processor() or platform.machine()


def _governor() -> str | None:
    path = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    try:
        return path.read_text().strip()
    except OSError:
        return None


@lru_cache
def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def current_environment(**device: str) -> Environment:
    """This machine, without its name; `device` adds what a backend knows (driver, GPU, mode)."""
    versions = {name: _installed(name) for name in _LIBRARIES}
    return Environment(
        artoolkit=__version__,
        commit=source_commit(),
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.release()} {platform.machine()}",
        processor=_processor(),
        cores=usable_cores(),
        governor=_governor(),
        libraries={name: version for name, version in versions.items() if version},
        device=device,
    )


def machine_name(environment: Environment) -> str:
    """A short name of the machine for a folder: its GPU, or else its processor and cores."""
    words = environment.device.get("gpu") or f"{environment.processor} {environment.cores} cores"
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[:40].rstrip("-")


def command_line() -> tuple[str, ...]:
    """The command that runs, folders left out: how a user's disk is laid out is nobody's affair."""

    def shown(argument: str) -> str:
        option, equals, value = argument.rpartition("=")
        return f"{option}{equals}{PurePath(value).name or value}"

    return tuple(map(shown, (Path(sys.argv[0]).name, *sys.argv[1:])))


def header(record: type[Record], **device: str) -> dict[str, Any]:
    """The values of a new record's common fields."""
    return {
        "kind": record.KIND,
        "schema_version": record.VERSION,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": command_line(),
        "environment": current_environment(**device),
    }


def read_record(path: Path, record: type[R]) -> R:
    """The record in a sealed file; `BundleError` if changed, or of another kind or version."""
    values = read_sealed(path)
    values.pop("sha256")
    if values.get("kind") != record.KIND:
        raise BundleError(
            f"{path} is not a {record.KIND} record", got=values.get("kind"), expected=record.KIND
        )
    if values.get("schema_version") != record.VERSION:
        raise BundleError(
            f"{path}: {record.KIND} record of another schema version",
            got=values.get("schema_version"),
            expected=record.VERSION,
            hint="Measure again with this artoolkit.",
        )
    try:
        return record.model_validate(values)
    except ValidationError as error:
        raise BundleError(f"{path} is not valid: {problems(error)}") from error
