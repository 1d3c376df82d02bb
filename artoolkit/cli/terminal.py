"""The one way to a terminal for tables and bars: text in them is text, whoever wrote it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from artoolkit.cli.talk import is_quiet
from artoolkit.errors import visible


class Terminal(Console):
    """A console that reads no markup in text, and shows escape sequences instead of sending them.

    `options` are those of rich's console. With `-q` nothing goes to standard error.
    """

    def __init__(self, **options: Any) -> None:
        if options.get("stderr") and is_quiet():
            options["quiet"] = True
        super().__init__(markup=False, **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else visible(text), style, control)
