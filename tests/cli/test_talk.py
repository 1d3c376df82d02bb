"""Every verb can be quiet, keeps a log, prints JSON alone, and ends its help with an example."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from tiny import tiny_bundle

from artoolkit.cli import VERBS, main

# What these print is not a result: a workflow to be put into a file.
NO_RESULT = {"ci"}


def leaves() -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, with the words that call it."""
    context = click.Context(main)
    for verb in VERBS:
        command = main.get_command(context, verb)
        assert command is not None
        inner = command.commands if isinstance(command, click.Group) else {"": command}
        yield from ((f"{verb} {name}".strip(), one) for name, one in inner.items())


LEAVES = dict(leaves())


def called(*words: object) -> Result:
    return CliRunner().invoke(main, [*map(str, words)])


@pytest.mark.parametrize("words", LEAVES)
def test_a_command_has_what_every_command_has(words: str) -> None:
    flags = [flag for parameter in LEAVES[words].params for flag in parameter.opts]
    assert len(set(flags)) == len(flags)
    assert {"-q", "--quiet", "-v", "--verbose", "--log-file"} <= set(flags)
    assert ("--json" in flags) is (words not in NO_RESULT)
    shown = called(*words.split(), "--help").output
    assert f"  artoolkit {words} " in shown + " " or f"  artoolkit {words}\n" in shown


@pytest.mark.parametrize(
    "words",
    [
        "recipes list", "recipes show camvid", "targets list", "targets show cpu", "datasets list",
        "datasets show nyuv2", "weights list --network icnet", "doctor", "verify BUNDLE",
        "log BUNDLE", "report BUNDLE --images 0", "benchmark BUNDLE --duration-s 0 --no-memory",
        "data synthesize OUT/streets --train 1 --val 1 --imgsz 32 64 --workers 1",
        "data check OUT/streets --dataset cityscapes --workers 1",
        "sign --new-key OUT/key", "predict BUNDLE OUT/images --out OUT/seen",
    ],
)  # fmt: skip
def test_json_stands_alone_on_standard_output(words: str, folder: Path) -> None:
    text = words.replace("BUNDLE", str(folder / "bundle")).replace("OUT", str(folder))
    answer = called(*text.split(), "--json")
    assert answer.exit_code == 0, answer.output
    assert isinstance(json.loads(answer.stdout), (dict, list))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny bundle, where the commands leave their files in order."""
    made = tmp_path_factory.mktemp("talk")
    images = tiny_bundle(made / "bundle").golden()["images"]
    (made / "images").mkdir()
    Image.fromarray(images[0]).save(made / "images" / "a.png")
    return made


def test_the_log_goes_to_a_file_and_quiet_leaves_the_result(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    answer = called("recipes", "show", "camvd", "--log-file", log, "-q")
    assert answer.exit_code == 7
    answer = called("train", "--log-file", log, "--resume", "--out", tmp_path / "none", "-q")
    assert answer.exit_code == 11
    assert "no run to resume" in log.read_text()
    assert called("recipes", "list", "-q").stdout.startswith("camvid")
    unwritable = called("recipes", "list", "--log-file", tmp_path / "no" / "log")
    assert unwritable.exit_code == 15
