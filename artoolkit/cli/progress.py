"""One progress bar for everything that reports `(what, fraction)`; lines where it is piped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from artoolkit.cli.talk import LOG

# Who follows a log wants to know that it goes on, not to scroll.
LINE_EVERY_S = 10.0

Report = Callable[[str, float], None]


class _Told:
    """What was reported last, and since when it is that."""

    def __init__(self) -> None:
        self.what, self.fraction, self.since = "", 0.0, time.monotonic()

    def take(self, what: str, fraction: float) -> None:
        if what != self.what:
            self.since = time.monotonic()
        self.what, self.fraction = what, fraction

    def __str__(self) -> str:
        spent = time.monotonic() - self.since
        if not self.fraction:
            return f"{self.what or 'starting'}: {spent:.0f} s"
        left = spent * (1 - self.fraction) / self.fraction
        return f"{self.what}: {100 * self.fraction:.0f} %, {spent:.0f} s, about {left:.0f} s left"


@contextmanager
def _every(seconds: float, show: Callable[[], None]) -> Iterator[None]:
    """Calls `show` so often from a thread, also while nothing is reported."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(seconds):
            show()

    thread = threading.Thread(target=beat, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def lines() -> Iterator[Report]:
    """A callback that keeps what is reported; a line of it goes to the log every 10 s.

    So seldom that it disturbs nothing that is being timed.
    """
    told = _Told()
    with _every(LINE_EVERY_S, lambda: LOG.info("%s", told)):
        yield told.take


@contextmanager
def progress_bar() -> Iterator[Report]:
    """A callback that moves a bar on standard error; elsewhere there is a line every 10 s."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from artoolkit.cli.terminal import Terminal

    console = Terminal(stderr=True)
    if not console.is_terminal:
        with lines() as report:
            yield report
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, auto_refresh=False) as bar:
        task = bar.add_task("", total=1.0)
        told, shown = _Told(), ("", -1.0)

        def show() -> None:
            bar.update(task, description=told.what, completed=told.fraction)
            bar.refresh()

        def report(what: str, fraction: float) -> None:
            nonlocal shown
            told.take(what, fraction)
            if what != shown[0] or abs(fraction - shown[1]) >= 0.02 or fraction == 1.0:
                shown = (what, fraction)
                show()

        def beat() -> None:
            # While one is timed against another only reports draw, between two blocks.
            if "against" not in told.what:
                show()

        with _every(1.0, beat):
            yield report


@contextmanager
def working(what: str) -> Iterator[None]:
    """`progress_bar` for what does not tell how far it is: the time alone."""
    with progress_bar() as report:
        report(what, 0.0)
        yield


@contextmanager
def counter(what: str) -> Iterator[Callable[[int, int | None], None]]:
    """`progress_bar` for what counts: a callback that takes how many are done, and of how many."""
    with progress_bar() as report:
        yield lambda done, total: report(what, done / total if total else 0.0)
