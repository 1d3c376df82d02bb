"""The commands in docs/ exist: every verb and every option."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from artoolkit.cli import VERBS, main
from artoolkit.networks.sources import sources
from artoolkit.training.recipe import recipe_names

DOCS = Path(__file__).parents[2] / "docs"


def commands() -> Iterator[str]:
    for page in sorted(DOCS.glob("*.md")):
        for block in re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL):
            yield from (line for line in block.splitlines() if line.startswith("artoolkit "))


@pytest.mark.parametrize("text", list(commands()))
def test_a_command_of_the_pages_is_one(text: str) -> None:
    _, verb, *arguments = shlex.split(text)
    assert verb in VERBS
    context = click.Context(main)
    command = main.get_command(context, verb)
    if isinstance(command, click.Group):
        verb, *arguments = arguments
        command = command.get_command(context, verb)
    assert command is not None
    known = {flag for parameter in command.params for flag in parameter.opts}
    known |= {flag for parameter in command.params for flag in parameter.secondary_opts}
    assert {a for a in arguments if a.startswith("--")} <= known
    if "--recipe" in arguments:
        assert arguments[arguments.index("--recipe") + 1] in recipe_names()
    if verb == "fetch":
        assert arguments[0] in {source.name for source in sources()}
    files = {source.file for source in sources()}
    for name in (Path(a).name for a in arguments if a.startswith("weights/")):
        assert name in files
