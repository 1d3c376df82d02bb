"""One progress bar for everything that reports `(what, fraction)`; lines where it is piped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Who follows a log wants to know that it goes on, not to scroll.
LINE_EVERY_S = 10.0

Report = Callable[[str, float], None]


@contextmanager
def progress_bar() -> Iterator[Report]:
    """A callback that moves a bar on standard error; elsewhere it prints a line every 10 s."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from artoolkit.cli.terminal import Terminal

    console = Terminal(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    # A thread that redraws would disturb what is being timed: the callback redraws, seldom.
    with Progress(*columns, console=console, transient=True, auto_refresh=False,
                  disable=not console.is_terminal) as bar:  # fmt: skip
        task = bar.add_task("", total=1.0)
        shown = ("", -1.0)
        started = last = time.monotonic()

        def line(what: str, fraction: float) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= LINE_EVERY_S:
                last = now
                text = f"{what}: {100 * fraction:.0f} %, {now - started:.0f} s"
                console.print(text, markup=False, highlight=False)

        def report(what: str, fraction: float) -> None:
            nonlocal shown
            if not console.is_terminal:
                line(what, fraction)
                return
            if what != shown[0] or abs(fraction - shown[1]) >= 0.02 or fraction == 1.0:
                shown = (what, fraction)
                bar.update(task, description=what, completed=fraction)
                bar.refresh()

        yield report
