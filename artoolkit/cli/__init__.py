"""The command line: `artoolkit VERB`. One file a verb, imported only when the verb is called."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any

import click

from artoolkit import __version__
from artoolkit.errors import ArtoolkitError

# verb -> (module under artoolkit.cli, what it does in one line)
VERBS = {
    "quickstart": ("quickstart", "The whole journey on built-in data, minutes on a CPU."),
    "doctor": ("doctor", "What this machine can do, and why not the rest."),
    "data": ("data", "Generate, prepare and check data sets."),
    "weights": ("weights", "List, fetch and import published checkpoints."),
    "train": ("train", "Train a network from a recipe."),
    "finetune": ("finetune", "Fine-tune a baseline with the affinity-regression loss."),
    "experiment": ("experiment", "Does the loss help? All arms and seeds from a baseline."),
    "evaluate": ("evaluate", "mIoU of a checkpoint, bundle or engine on a data set."),
    "export": ("export", "Checkpoint to bundle, and the verdict against a baseline."),
    "build": ("build", "Build the TensorRT engine of a bundle."),
    "benchmark": ("benchmark", "Latency and memory of a bundle on this machine."),
    "compare": ("compare", "The verdict: a candidate bundle against a baseline bundle."),
    "verify": ("verify", "Is the bundle whole, and does it compute here what it should?"),
    "sign": ("sign", "Sign a bundle and its evidence with a key."),
    "predict": ("predict", "Label maps and overlays for an image or a folder."),
    "report": ("report", "One HTML page of runs and bundles, to pass on."),
}
ALIASES = {"val": "evaluate", "checks": "doctor"}


class LazyVerbs(click.Group):
    """Imports a verb's module when it is called, so that --help is instant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        verb = ALIASES.get(cmd_name, cmd_name)
        if verb not in VERBS:
            return None
        module = importlib.import_module(f"artoolkit.cli.{VERBS[verb][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(verb, summary) for verb, (_, summary) in VERBS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ArtoolkitError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(130)


@click.group(cls=LazyVerbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="artoolkit")
def main() -> None:
    """More accurate segmentation at exactly the same cost, with the evidence."""


def run(arguments: Sequence[str]) -> int:
    """The exit code of `artoolkit ARGUMENTS`, run in this process; for quickstart and tests.

    Records say which command made them, so that the arguments stand in `sys.argv` meanwhile.
    """
    before, sys.argv = sys.argv, ["artoolkit", *arguments]
    try:
        code = main.main(args=list(arguments), standalone_mode=False)
    except click.UsageError as error:
        error.show()
        return error.exit_code
    except SystemExit as stop:
        code = stop.code
    finally:
        sys.argv = before
    return code if isinstance(code, int) else 0
