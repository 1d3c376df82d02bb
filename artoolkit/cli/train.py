"""`artoolkit train`: Recipe -> Checkpoint; and the options that it shares with `finetune`."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from artoolkit.cli.names import RECIPE
from artoolkit.cli.network_options import network_options, requested_network
from artoolkit.cli.options import (
    Command,
    dataset_options,
    device_option,
    imgsz_option,
    out_option,
    track_option,
)
from artoolkit.cli.talk import json_option, tell
from artoolkit.errors import DataError, StorageError, TrainingError
from artoolkit.words import BALANCINGS, SETTINGS

if TYPE_CHECKING:
    from artoolkit.cli.terminal import Terminal
    from artoolkit.training.watcher import Outcome

# The paths in a recipe of the options that have a name of their own; `finetune` takes those of
# the loss itself.
PATHS: dict[str, tuple[str, ...]] = {
    "batch_size": ("schedule.batch_size",),
    "seed": ("seed",),
    "imgsz": ("augmentation.crop",),
    **{
        word.replace("-", "_"): paths
        for word, paths in SETTINGS.items()
        if not word.startswith("ar-")
    },
}


def recipe_options(command: Command) -> Command:
    """Options that replace values of a recipe, and where and how the run goes."""
    options: tuple[Callable[[Command], Command], ...] = (
        json_option,
        track_option,
        click.option(
            "--changed-data",
            is_flag=True,
            help="With --resume: go on although images or labels were changed, and record it.",
        ),
        click.option(
            "--find-lr",
            is_flag=True,
            help="No run: raise the learning rate step by step, show the loss at each and suggest "
            "one. Writes nothing.",
        ),
        click.option("--resume", is_flag=True, help="Go on with the run in --out."),
        click.option("--workers", type=click.IntRange(min=0), help="Processes that load images."),
        device_option(),
        click.option(
            "--set",
            "assignments",
            multiple=True,
            metavar="PATH=VALUE",
            help="Replace a value of the recipe, for example optimizer.momentum=0.95.",
        ),
        imgsz_option(help_text="Training crop: height width, in pixels."),
        click.option("--seed", type=click.IntRange(min=0), help="Seed of the run."),
        click.option("--lr", type=float, help="Base learning rate."),
        click.option(
            "--batch-size",
            type=click.IntRange(min=1),
            help="Effective batch size (images per optimizer step, over all processes).",
        ),
        click.option("--epochs", type=click.IntRange(min=1), help="Passes over the training set."),
        *remedies(),
        network_options(),
    )
    for option in options:
        command = option(command)
    return command


def remedies() -> tuple[Callable[[Command], Command], ...]:
    """Options of what may help beside the affinity-regression loss, a teacher among them."""
    positive, share = click.FloatRange(min=0), click.FloatRange(min=0, max=1, max_open=True)
    return (
        click.option(
            "--photometric", type=share, metavar="S",
            help="Largest relative change of brightness, contrast and saturation of an image.",
        ),
        click.option(
            "--average-epochs", type=click.IntRange(min=1), metavar="N",
            help="Save the mean of the weights at the end of the last N epochs.",
        ),
        click.option(
            "--ema-decay", type=click.FloatRange(0, 1, min_open=True, max_open=True), metavar="D",
            help="Save the moving average of the weights, with this decay per step.",
        ),
        click.option(
            "--ohem", type=click.FloatRange(min=0, max=1, min_open=True), metavar="P",
            help="Learn only from pixels whose own class has at most this probability.",
        ),
        click.option(
            "--boundary-weight", type=click.FloatRange(min=0, min_open=True), metavar="W",
            help="Count a pixel near a border W times in cross-entropy.",
        ),
        click.option(
            "--label-smoothing", type=share, metavar="S",
            help="Spread this share of each label over all classes.",
        ),
        click.option(
            "--class-weights", type=click.Choice(BALANCINGS),
            help="Weights of the classes in cross-entropy, computed from the training labels.",
        ),
        click.option("--temperature", type=click.FloatRange(min=0, min_open=True),
                     help="Divide scores of both by this in --distillation."),
        click.option("--affinity-distillation", type=positive, metavar="W",
                     help="Weight of the teacher's affinities (where void; labels elsewhere)."),
        click.option("--distillation", type=positive, metavar="W",
                     help="Weight of the teacher's class probabilities."),
        click.option(
            "--teacher", "teachers", multiple=True, metavar="[NETWORK=]FILE",
            help="A network to learn from: a checkpoint, or weights of others with the name of "
            "their network. Several are averaged. Nothing of it reaches the result.",
        ),
    )  # fmt: skip


def carry_out(work: Callable[..., Outcome], options: dict[str, Any]) -> None:
    """`train` or `finetune` with a bar: prints the result, or how to go on where it stopped.

    `options` are those of the command, `recipe_options` among them.
    """
    from artoolkit.cli.terminal import Terminal
    from artoolkit.optional import require

    require("torch", "training")
    from artoolkit.trackers import tracking
    from artoolkit.training.display import ProgressBar
    from artoolkit.training.processes import Machine
    from artoolkit.training.state import STATE

    if options["out"] is None:
        if not options["find_lr"]:
            raise click.UsageError("Missing option '--out'.")
        options["out"] = Path()  # nothing is written
    out: Path = options["out"]
    as_json, names = options.pop("as_json"), options.pop("track")
    options["network"] = requested_network(options)
    given = {paths: options.pop(name) for name, paths in PATHS.items()}
    options["changes"] = {path: value for paths, value in given.items() for path in paths}
    machine = Machine.of(options["device"], options["workers"])
    console = Terminal(
        stderr=True, soft_wrap=True, highlight=False, quiet=not machine.processes.first
    )
    try:
        with (
            tracking(names if machine.processes.first else ()) as callbacks,
            ProgressBar(console, machine.device) as bar,
        ):
            outcome = work(**options, watcher=bar, callbacks=callbacks)
    except (TrainingError, DataError, StorageError, KeyboardInterrupt) as error:
        if (out / STATE).exists():
            # A label that is repaired is another label than the run began with.
            repaired = " --changed-data" if isinstance(error, DataError) else ""
            console.print(f"The run is kept. Go on with: {resume_command(out)}{repaired}")
        raise
    if not outcome.finished:
        where = f"epoch {outcome.progress.epoch + 1}, step {outcome.progress.step}"
        console.print(f"Stopped and saved in {where}. Go on with: {resume_command(out)}")
        raise click.exceptions.Exit(130)
    if not machine.processes.first:
        return
    if "rates" in outcome.metrics:
        found = outcome.metrics
        _show_rates(console, found["rates"], found["losses"])
        tell(found, f"--lr {found['suggested_lr']:.2g}", as_json=as_json)
        return
    miou = outcome.metrics.get("mIoU")
    tell(
        {"model": outcome.model, "metrics": outcome.metrics},
        *([] if miou is None else [f"mIoU {miou:.2f} %"]),
        str(outcome.model),
        as_json=as_json,
    )


def _show_rates(console: Terminal, rates: Sequence[float], losses: Sequence[float]) -> None:
    """The table of a range test on standard error, every fifth step."""
    from rich.table import Table

    table = Table("lr", "loss", title="Loss while the learning rate rises", title_justify="left")
    shown = sorted({*range(0, len(rates), 5), len(rates) - 1})
    for step in shown:
        table.add_row(f"{rates[step]:.2g}", f"{losses[step]:.4f}")
    console.print(table)


def resume_command(out: Path) -> str:
    """The command that goes on with the run in `out`."""
    from artoolkit.training.recipe import load_recipe

    context = click.get_current_context()
    places = (("--dataset", "dataset"), ("--data-root", "data_root"), ("--classes", "classes"))
    given = [(flag, context.params.get(name)) for flag, name in places]
    name = load_recipe(out / "recipe.toml").network.name
    given.append(("--network", name if ":" in name else None))
    given += [("--teacher", teacher) for teacher in context.params["teachers"]]
    places_given = [str(part) for pair in given if pair[1] is not None for part in pair]
    return shlex.join(["artoolkit", "train", "--resume", "--out", str(out), *places_given])


@click.command("train", short_help="Train a network from a recipe.")
@click.option("--recipe", type=RECIPE, metavar="NAME|PATH", help="Recipe: a name or a file.")
@dataset_options()
@out_option(help_text="Folder of the run; not needed with --find-lr.", required=False)
@click.option(
    "--init",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE|NAME",
    help="Start from the encoder in this file: a checkpoint, or weights as published by "
    "torchvision, mmsegmentation and others. A name of `weights list` that comes by pip.",
)
@recipe_options
def command(**options: Any) -> None:
    """Train a network from a recipe and save it in OUT/model.safetensors.

    Ctrl-C finishes the step and saves; the same command with --resume goes on from there.
    """
    from artoolkit import train

    carry_out(train, options)
