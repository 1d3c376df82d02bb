"""Every command of artoolkit and its parameters, found by looking at it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click


def leaves(command: click.Command, name: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by its words."""
    if not isinstance(command, click.Group):
        yield name, command
        return
    context = click.Context(command)
    for word in command.list_commands(context):
        inner = command.get_command(context, word)
        assert inner is not None
        yield from leaves(inner, f"{name} {word}".strip())


def arguments(command: click.Command, given: dict[str, Any], out: Path) -> list[str]:
    """The command line with these parameters, and a new `out` where one is needed."""
    line = []
    # With --find-lr alone train and finetune do without.
    needed = "find_lr" in {one.name for one in command.params}
    for one in command.params:
        asked = one.name == "out" and (one.required or needed)
        value = given.get(one.name or "", out if asked else None)
        if value is not None:
            line += [one.opts[0], str(value)] if isinstance(one, click.Option) else [str(value)]
    return line
