"""`artoolkit train`: Recipe -> Checkpoint; and what it shares with `finetune`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from artoolkit.cli.options import (
    Command,
    dataset_options,
    device_option,
    imgsz_option,
    open_data,
    out_option,
)
from artoolkit.errors import ArtoolkitError, UsageError

if TYPE_CHECKING:
    from artoolkit.data import DataSet
    from artoolkit.training.run import Machine, Outcome, Watcher


def recipe_options(command: Command) -> Command:
    """Options that replace values of a recipe, and where and how the run goes."""
    options: tuple[Callable[[Command], Command], ...] = (
        click.option("--resume", is_flag=True, help="Go on with the run in --out."),
        click.option("--workers", type=click.IntRange(min=0), help="Processes that load images."),
        device_option(),
        click.option(
            "--set",
            "assignments",
            multiple=True,
            metavar="PATH=VALUE",
            help="Replace a value of the recipe, for example optimiser.momentum=0.95.",
        ),
        imgsz_option(help_text="Training crop: height width, in pixels."),
        click.option("--seed", type=click.IntRange(min=0), help="Seed of the run."),
        click.option("--lr", type=float, help="Base learning rate."),
        click.option("--batch-size", type=click.IntRange(min=1), help="Images a step."),
        click.option("--epochs", type=click.IntRange(min=1), help="Passes over the training set."),
    )
    for option in options:
        command = option(command)
    return command


def changes_of(options: dict[str, Any]) -> dict[str, Any]:
    """Recipe paths and values of the options of `recipe_options` (None: not given)."""
    paths = {
        "epochs": "schedule.epochs",
        "batch_size": "schedule.batch_size",
        "lr": "optimiser.lr",
        "seed": "seed",
        "imgsz": "augmentation.crop",
    }
    return {path: options[name] for name, path in paths.items()}


def machine_of(device: str, workers: int | None) -> Machine:
    """Where to train; by default one process loads images on a CPU, and up to 8 beside a GPU."""
    import os

    from artoolkit.training.run import Machine

    spare = max(1, len(os.sched_getaffinity(0)) - 1) if hasattr(os, "sched_getaffinity") else 1
    default = min(8, spare) if device.startswith("cuda") else 1
    return Machine(device=device, workers=default if workers is None else workers)


def carry_out(out: Path, work: Callable[[Watcher], Outcome]) -> None:
    """Runs with a progress bar, prints the result, and says how to go on where it stopped."""
    from rich.console import Console

    from artoolkit.training.history import has_tensorboard
    from artoolkit.training.progress import ProgressBar
    from artoolkit.training.state import STATE

    console = Console(stderr=True, soft_wrap=True)
    if not has_tensorboard():
        console.print("tensorboard is not installed: metrics.jsonl only", highlight=False)
    try:
        with ProgressBar(console) as bar:
            outcome = work(bar)
    except (ArtoolkitError, KeyboardInterrupt):
        if (out / STATE).exists():
            console.print(f"The run is kept. Go on with: {resume_command(out)}", highlight=False)
        raise
    if not outcome.finished:
        where = f"epoch {outcome.progress.epoch + 1}, step {outcome.progress.step}"
        console.print(
            f"Stopped and saved in {where}. Go on with: {resume_command(out)}", highlight=False
        )
        raise click.exceptions.Exit(130)
    if "mIoU" in outcome.metrics:
        click.echo(f"mIoU {outcome.metrics['mIoU']:.2f} %")
    click.echo(f"{out / 'model.safetensors'}")


def resume_command(out: Path) -> str:
    """The command that goes on with this one's run: the same, with --resume."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--resume"]
    if str(out) not in arguments:
        return f"artoolkit train --resume --out {shlex.quote(str(out))} --dataset ... "
    return shlex.join(["artoolkit", *arguments, "--resume"])


def resume_run(out: Path, dataset: DataSet, machine: Machine, *, ignored: dict[str, Any]) -> None:
    """Goes on with the run in `out`, whose recipe is stored there."""
    from artoolkit.training.run import resume

    carry_out(out, lambda watcher: resume(out, dataset, machine=machine, watcher=watcher))


@click.command("train", short_help="Train a network from a recipe.")
@click.option("--recipe", "recipe_source", metavar="NAME|PATH", help="Recipe: a name or a file.")
@dataset_options()
@out_option(help_text="Folder of the run.")
@click.option(
    "--init",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="CKPT",
    help="Start from the encoder of this checkpoint.",
)
@recipe_options
def command(
    recipe_source: str | None,
    dataset: str | None,
    data_root: Path | None,
    classes: Path | None,
    out: Path,
    init: Path | None,
    device: str,
    workers: int | None,
    assignments: tuple[str, ...],
    resume: bool,
    **options: Any,
) -> None:
    """Train a network from a recipe and save it in OUT/model.safetensors.

    Ctrl-C finishes the step and saves; the same command with --resume goes on from there.
    """
    from artoolkit.training.recipe import load_recipe, recipe_names

    machine = machine_of(device, workers)
    if resume:
        from artoolkit.training.state import read_state

        name = dataset or read_state(out).provenance["dataset"]
        resume_run(out, open_data(name, data_root, classes), machine, ignored=options)
        return
    if recipe_source is None:
        raise UsageError("no recipe", expected=f"--recipe {'|'.join(recipe_names())} or a path")
    recipe = load_recipe(
        recipe_source,
        assignments=assignments,
        changes={"data.dataset": dataset, **changes_of(options)},
    )
    if recipe.data.dataset is None:
        raise UsageError("no data set", expected="--dataset NAME, or data.dataset in the recipe")
    data = open_data(recipe.data.dataset, data_root, classes)
    encoder = None
    if init is not None:
        from artoolkit.networks.checkpoint import read_checkpoint

        encoder = read_checkpoint(init)
    from artoolkit.training.run import train

    carry_out(
        out,
        lambda watcher: train(recipe, data, out, encoder=encoder, machine=machine, watcher=watcher),
    )
