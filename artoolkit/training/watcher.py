"""Watching a run and stopping it: progress, requests to stop, and what the run came to."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from artoolkit.training.engine import Row
from artoolkit.training.recipe import Recipe
from artoolkit.training.state import MODEL, Progress


class Watcher(Protocol):
    """Watcher of a run; `display.ProgressBar` shows it."""

    def started(self, recipe: Recipe, iterations_per_epoch: int, progress: Progress) -> None: ...
    def stepped(self, row: Row) -> None: ...
    def evaluated(self, row: Row) -> None: ...


class Silent:
    """A watcher that shows nothing."""

    def started(self, recipe: Recipe, iterations_per_epoch: int, progress: Progress) -> None: ...
    def stepped(self, row: Row) -> None: ...
    def evaluated(self, row: Row) -> None: ...


@dataclass(frozen=True)
class Outcome:
    """State of a run: `finished`, or stopped on request; `metrics` of the last evaluation."""

    out: Path
    finished: bool
    progress: Progress
    metrics: dict[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> Path:
        """The checkpoint of the last finished epoch."""
        return self.out / MODEL


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """Ctrl-C, SIGTERM, and SIGHUP of a terminal that closes, ask for a stop after the current step.

    A second one stops at once.
    """
    stop = threading.Event()

    def ask(_signal: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        # Only the main thread may install handlers; elsewhere the caller keeps its own.
        yield stop
        return
    numbers = [signal.SIGINT, signal.SIGTERM]
    # Under nohup a terminal that closes is ignored.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, ask) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
