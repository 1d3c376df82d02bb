"""One progress bar for everything that reports `(what, fraction)`; silent where nobody looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Report = Callable[[str, float], None]


@contextmanager
def progress_bar() -> Iterator[Report]:
    """A callback that moves a bar on standard error; on anything but a terminal it says nothing."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    # A thread that redraws would disturb what is being timed: the callback redraws, seldom.
    with Progress(*columns, console=console, transient=True, auto_refresh=False,
                  disable=not console.is_terminal) as bar:  # fmt: skip
        task = bar.add_task("", total=1.0)
        shown = ("", -1.0)

        def report(what: str, fraction: float) -> None:
            nonlocal shown
            if what != shown[0] or abs(fraction - shown[1]) >= 0.02 or fraction == 1.0:
                shown = (what, fraction)
                bar.update(task, description=what, completed=fraction)
                bar.refresh()

        yield report
