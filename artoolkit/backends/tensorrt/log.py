"""What TensorRT says while it builds or loads: kept as lines, not printed.

Its logger is a base class that exists only once a library is imported.
"""

from __future__ import annotations

import re
from typing import Any

# Where in NVIDIA's own source a message was made helps nobody who reads one line.
_SOURCE_PLACE = re.compile(r"[. ]*\bIn [\w:]+ at \S+?:\d+")


def without_source_place(message: str) -> str:
    """A message of the library on one line, without the file and line of its own source."""
    return " ".join(_SOURCE_PLACE.sub("", message).split())


def log_collector(trt: Any) -> Any:
    """A logger with `lines` (all but verbose ones) and `errors`."""

    class LogCollector(trt.ILogger):  # type: ignore[misc]  # the base class is known at run time
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
