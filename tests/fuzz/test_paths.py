"""A pipe, a device or a folder as any path that a verb takes, found by looking at the commands."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner
from formats import CLASSES
from harness import MOST_SECONDS, limits, listed_codes
from judged import judged_bundle
from PIL import Image
from small_town import make_town
from tiny import write_tiny

from artoolkit.cli import CRASH, main
from artoolkit.evidence.keys import new_key

pytestmark = pytest.mark.xdist_group("fuzz")
# What a command writes is in tests/cli/test_out.py.
WRITTEN = {"out", "json_out", "markdown", "new_key", "onnx", "timing_cache"}
# A text that may be the name of something built in, or a path.
NAMED = {"recipe", "target", "source", "labels", "teachers"}


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


def read_by(command: click.Command) -> dict[str, click.Parameter]:
    """The parameters that name what the command reads."""
    return {
        one.name: one
        for one in command.params
        if one.name and one.name not in WRITTEN
        and (isinstance(one.type, click.Path) or one.name in NAMED)
    }  # fmt: skip


READ = [(verb, name) for verb, command in leaves(main) for name in read_by(command)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one of everything that a command reads."""
    folder = make_town(tmp_path_factory.mktemp("place"), epochs=1)
    judged_bundle(folder / "judged")
    write_tiny(folder / "a.onnx")
    new_key(folder / "key")
    for name in ("images", "labels"):
        (folder / "yard" / name).mkdir(parents=True)
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "yard" / name / "a.png")
    (folder / "yard" / "classes.toml").write_text(CLASSES)
    return folder


def values(place: Path, verb: str, tested: str) -> dict[str, Any]:
    """What the parameters of `verb` have to be, so that it comes to read the `tested` one."""
    base, bundle = place / "base" / "model.safetensors", place / "judged" / "bundle"
    street = {"dataset": "cityscapes", "data_root": place / "data"}
    yard = {"dataset": "folder", "data_root": place / "yard",
            "classes": place / "yard" / "classes.toml"}  # fmt: skip
    data = yard if tested == "classes" else street
    training = data | {"recipe": place / "tiny.toml", "workers": 0}
    tuning = training | {"baseline": base}
    return {
        "data check": (data if tested == "classes" else {"dataset": "cityscapes"})
        | {"root": data["data_root"]},
        "weights import": {"file": base, "network": "icnet", "num_classes": 3},
        "train": training,
        "finetune": tuning,
        "experiment": tuning,
        "evaluate": data | {"model": base},
        "export": data | {"checkpoint": base}
        if tested != "engine" else {"checkpoint": bundle, "form": "triton"},
        "compare": {"baseline": place / "a.onnx", "candidate": place / "a.onnx"}
        if tested == "inputs"
        else {"baseline": place / "judged" / "base", "candidate": place / "judged" / "other"}
        | (data if tested in ("classes", "data_root") else {}),
        "verify": {"bundle": bundle},
        "delta": {"held": place / "judged" / "base", "made": place / "judged" / "other"},
        "refit": {"bundle": place / "judged" / "base", "delta": place / "a.onnx"},
        "sign": {"bundle": bundle, "key": place / "key"},
        "predict": {"model": bundle}
        | (data if tested in ("classes", "data_root") else {"source": place / "yard" / "images"}),
        "report": {"paths": bundle} | (data if tested != "paths" else {}),
    }.get(verb, {})  # fmt: skip


def arguments(command: click.Command, given: dict[str, Any], out: Path) -> list[str]:
    """The command line with these parameters, and a new `out` where one is needed."""
    line = []
    for one in command.params:
        value = given.get(one.name or "", out if one.name == "out" and one.required else None)
        if value is not None:
            line += [one.opts[0], str(value)] if isinstance(one, click.Option) else [str(value)]
    return line


@pytest.mark.parametrize(("verb", "name"), READ)
def test_what_is_no_file_is_refused_by_name(
    verb: str, name: str, place: Path, tmp_path: Path
) -> None:
    command = dict(leaves(main))[verb]
    kind_of = read_by(command)[name].type
    file_only = isinstance(kind_of, click.Path) and not kind_of.dir_okay
    # What is no bundle does not hold: `verify` answers that with the code of a check.
    allowed = listed_codes() - ({0, 3, CRASH} if verb == "verify" else {0, 1, 3, CRASH})
    for kind in ("pipe", "device", "folder") if file_only else ("pipe", "device"):
        odd = tmp_path / f"odd-{kind}"
        if kind == "pipe":
            os.mkfifo(odd)
        elif kind == "device":
            odd.symlink_to("/dev/zero")
        else:
            odd.mkdir()
        given = values(place, verb, name) | {name: odd}
        line = [*verb.split(), *arguments(command, given, tmp_path / "out")]
        with limits():
            signal.setitimer(signal.ITIMER_REAL, MOST_SECONDS)
            try:
                answer = CliRunner().invoke(main, line)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        assert answer.exit_code in allowed, (line, answer.output)
        assert odd.name in answer.output, (line, answer.output)
