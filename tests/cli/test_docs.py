"""The commands in README.md and docs/ exist: every verb and every option."""

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

ROOT = Path(__file__).parents[2]


def commands() -> Iterator[str]:
    """Lines of a console block, and of an indented one with its continuations."""
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        text = re.sub(r"\\\n\s*", "", page.read_text())
        for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
            yield from (line for line in block.splitlines() if line.startswith("artoolkit "))
        yield from re.findall(r"^    (artoolkit .*)", text, re.MULTILINE)


@pytest.mark.parametrize("text", list(commands()))
def test_a_command_of_the_pages_is_one(text: str) -> None:
    _, verb, *arguments = shlex.split(text, comments=True)
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
