"""The two TensorRT libraries behind one name: which is meant, which is here, what it says.

`tensorrt` (10.3 to 11.x) picks tactics by timing them on the device that it builds for;
`tensorrt_rtx` (1.x) builds ahead of time, for any capability, without a GPU. Their Python API is
nearly one; what only one of them has lives in functions that end in `_rtx` or `_tensorrt`, which
tests/backends/tensorrt/test_api_conformance.py relies on.
"""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from typing import Any

from artoolkit.errors import EngineError, UsageError
from artoolkit.optional import require
from artoolkit.spec import Target
from artoolkit.words import LIBRARIES, LibraryName

MODULES: dict[LibraryName, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
EXPORT_FOR_ENGINES = "For an engine export again, for example with --target rtx-40."
RTX_CAPABILITIES = ("75", "80", "86", "89", "120", "121")

# Where in NVIDIA's own source a message was made helps nobody who reads one line.
_SOURCE_PLACE = re.compile(r"[. ]*\bIn [\w:]+ at \S+?:\d+")


@dataclass(frozen=True)
class Library:
    """An imported TensorRT: its name here, its module and its version ("10.3.0")."""

    name: LibraryName
    module: Any
    version: str


def library_name(target: Target) -> LibraryName:
    """The library that a target's engines are built with, or `UsageError` for an ONNX target."""
    if target.backend in LIBRARIES:
        return target.backend
    raise UsageError(
        f"target {target.name} runs on {target.backend}, which needs no engine",
        expected=f"a target for {' or '.join(LIBRARIES)}",
        hint=f"It runs as it is: artoolkit benchmark BUNDLE. {EXPORT_FOR_ENGINES}",
    )


def open_library(name: LibraryName, purpose: str) -> Library:
    """Import the library, or raise `MissingLibraryError` with the command that installs it."""
    module = require(MODULES[name], purpose)
    return Library(name, module, str(module.__version__))


def version_tuple(version: str) -> tuple[int, ...]:
    """The numbers of a version; what follows them ("10.3.0.post1") is left out."""
    numbers: list[int] = []
    for part in version.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)


def in_range(version: str, wanted: str) -> bool:
    """True if `version` lies in a range such as ">=10.3,<12".

    Only >= and < are known. Raises `ValueError` for any other range.
    """
    found = version_tuple(version)
    for bound in wanted.replace(" ", "").split(","):
        if bound.startswith(">="):
            holds = found >= version_tuple(bound[2:])
        elif bound.startswith("<") and bound[1:2].isdigit():
            holds = found < version_tuple(bound[1:])
        else:
            raise ValueError(f"version range {wanted!r} is not of the form '>=10.3,<12'")
        if not holds:
            return False
    return True


def not_made_for(library: LibraryName, target: Target) -> EngineError:
    """The error for a target that declares no version of this library, with what would."""
    other = "tensorrt" if library == "tensorrt-rtx" else "tensorrt-rtx"
    known = {"tensorrt": target.tensorrt, "tensorrt-rtx": target.tensorrt_rtx}[other]
    return EngineError(
        f"target {target.name} was not made for {library}",
        hint=f"Give --library {other}." if known else EXPORT_FOR_ENGINES,
    )


def check_range(library: Library, target: Target) -> None:
    """Raise `EngineError` where the target was not declared for this library or its version."""
    wanted = target.tensorrt if library.name == "tensorrt" else target.tensorrt_rtx
    if wanted is None and target.backend == library.name:
        return
    if wanted is None:
        raise not_made_for(library.name, target)
    if not in_range(library.version, wanted):
        raise EngineError(
            f"{library.name} is out of the range of target {target.name}",
            got=library.version,
            expected=wanted,
            hint="Install a version in the range, or export for another target.",
        )


def machine() -> str:
    """The processor and system that a plan belongs to, as x86_64-linux or aarch64-linux."""
    return f"{platform.machine().lower()}-{platform.system().lower()}"


def without_source_place(message: str) -> str:
    """A message of the library on one line, without the file and line of its own source."""
    return " ".join(_SOURCE_PLACE.sub("", message).split())


def log_collector(trt: Any) -> Any:
    """A logger that prints nothing and keeps `lines` (all but verbose ones) and `errors`."""

    class LogCollector(trt.ILogger):  # type: ignore[misc]  # known once the library is imported
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.lines: list[str] = []
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity == trt.ILogger.VERBOSE:
                return
            self.lines.append(f"[{severity.name}] {message}")
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(without_source_place(message))

    return LogCollector()
