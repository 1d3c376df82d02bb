"""Names are listed, completed, and refused before torch is imported."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from artoolkit.cli import main
from artoolkit.cli.names import recipe_files
from artoolkit.networks import NETWORKS
from artoolkit.training.recipe import recipe_names
from artoolkit.words import NETWORKS as NAMES

WRONG = {
    "train --recipe camvd --out x": ("camvid", 7),
    "train --recipe camvid --dataset camvd --out x": ("camvid", 2),
    "train --recipe camvid --network icnet50 --out x": ("icnet_r50", 2),
    "export --untrained icnet50 --num-classes 3 --out x": ("icnet_r50", 2),
    "export x.safetensors --target jetson-orin --out x": ("jetson-orin-nx", 2),
    "weights list --network pidnet": ("pidnet_s", 2),
}


def test_the_names_are_those_that_exist() -> None:
    assert tuple(NETWORKS) == NAMES
    assert tuple(sorted(recipe_files())) == recipe_names()


@pytest.mark.parametrize(("words", "meant"), WRONG.items())
def test_the_nearest_name_is_offered(words: str, meant: tuple[str, int]) -> None:
    answer = CliRunner().invoke(main, words.split())
    assert answer.exit_code == meant[1]
    assert f"Did you mean {meant[0]}?" in answer.stderr


def test_a_wrong_name_is_refused_before_torch_is_imported() -> None:
    calls = [words.split() for words in WRONG]
    code = f"""import sys; from artoolkit.cli import run
for call in {calls}: run(call)
sys.exit('torch' in sys.modules)"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


@pytest.mark.parametrize(
    ("words", "start", "found"),
    [
        ("train --recipe", "cityscapes-pid", "cityscapes-pidnet-s"),
        ("export --target", "jetson", "jetson-thor"),
        ("evaluate x --dataset", "ny", "nyuv2"),
        ("finetune --network", "seg", "segformer_b0"),
        ("targets show", "rtx", "rtx-40"),
    ],
)
def test_a_shell_completes_names(words: str, start: str, found: str) -> None:
    complete = ShellComplete(main, {}, "artoolkit", "_ARTOOLKIT_COMPLETE")
    items = [item.value for item in complete.get_completions(words.split(), start)]
    assert found in items
    assert all(item.startswith(start) for item in items)


@pytest.mark.parametrize("kind", ["recipes", "targets", "datasets"])
def test_what_is_listed_can_be_shown(kind: str) -> None:
    listed = CliRunner().invoke(main, [kind, "list"]).output.splitlines()
    for line in listed:
        name, _, words = line.partition(" ")
        assert words.strip()
        shown = CliRunner().invoke(main, [kind, "show", name])
        assert shown.exit_code == 0, shown.output
        assert len(shown.output) > 100
    assert isinstance(main.get_command(click.Context(main), kind), click.Group)
