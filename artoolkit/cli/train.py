"""`artoolkit train`: Recipe -> Checkpoint; and what it shares with `finetune`."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from artoolkit.cli.network_options import AskedNetwork, asked_network, network_options
from artoolkit.cli.options import (
    Command,
    dataset_options,
    device_option,
    imgsz_option,
    open_data,
    out_option,
)
from artoolkit.cores import usable_cores
from artoolkit.errors import DataError, StorageError, TrainingError, UsageError

if TYPE_CHECKING:
    from artoolkit.data import DataSet
    from artoolkit.networks.checkpoint import Checkpoint
    from artoolkit.training.recipe import Recipe
    from artoolkit.training.run import Machine, Outcome, Watcher


@dataclass(frozen=True)
class DataPlaces:
    """What `dataset_options` gave."""

    dataset: str | None
    root: Path | None
    classes: Path | None


@dataclass(frozen=True)
class Asked:
    """What the options say about the recipe; values of None were not given."""

    source: str | None
    assignments: tuple[str, ...]
    changes: dict[str, Any]
    network: AskedNetwork

    def recipe(self, source: str, **more: Any) -> Recipe:
        """The recipe `source` with everything that was asked for put over it."""
        from artoolkit.networks.custom import trust
        from artoolkit.training.recipe import load_recipe

        changes = {**self.changes, **more}
        plain = load_recipe(source, assignments=self.assignments, changes=changes)
        network = self.network.changes(plain.network.name)
        if any(text.startswith("network.name=") for text in self.assignments):
            trust(plain.network.name)  # typed by the user, as with --network
        return load_recipe(source, assignments=self.assignments, changes=changes | network)


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
        network_options(),
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
    """Where to train; by default one process loads images on a CPU, and up to 8 beside a GPU.

    Under torchrun, `cuda` is the GPU of each process's own number.
    """

    from artoolkit.training.processes import launched
    from artoolkit.training.run import Machine

    processes = launched()
    if processes.count > 1 and device.startswith("cuda"):
        if device != "cuda":
            raise UsageError(
                "under torchrun each process has a GPU of its own",
                got=f"--device {device}",
                expected="--device cuda",
            )
        device = f"cuda:{processes.local_rank}"
    default = min(8, max(1, usable_cores() - 1)) if device.startswith("cuda") else 1
    chosen = default if workers is None else workers
    return Machine(device=device, workers=chosen, processes=processes)


def carry_out(out: Path, machine: Machine, work: Callable[[Watcher], Outcome]) -> None:
    """Runs with a progress bar, prints the result, and says how to go on where it stopped."""
    from rich.console import Console

    from artoolkit.training.display import ProgressBar
    from artoolkit.training.history import has_tensorboard
    from artoolkit.training.state import STATE

    first = machine.processes.first
    console = Console(stderr=True, soft_wrap=True, highlight=False, quiet=not first)
    if not has_tensorboard():
        console.print("tensorboard is not installed: the curves are in metrics.jsonl only")
    try:
        with ProgressBar(console, machine.device) as bar:
            outcome = work(bar)
    except (TrainingError, DataError, StorageError, KeyboardInterrupt):
        if (out / STATE).exists():
            console.print(f"The run is kept. Go on with: {resume_command(out)}")
        raise
    if not outcome.finished:
        where = f"epoch {outcome.progress.epoch + 1}, step {outcome.progress.step}"
        console.print(f"Stopped and saved in {where}. Go on with: {resume_command(out)}")
        raise click.exceptions.Exit(130)
    if not first:
        return
    if "mIoU" in outcome.metrics:
        click.echo(f"mIoU {outcome.metrics['mIoU']:.2f} %")
    click.echo(f"{out / 'model.safetensors'}")


def resume_command(out: Path) -> str:
    """The command that goes on with the run in `out`."""
    from artoolkit.training.recipe import load_recipe

    context = click.get_current_context()
    places = (("--dataset", "dataset"), ("--data-root", "data_root"), ("--classes", "classes"))
    given = [(flag, context.params.get(name)) for flag, name in places]
    name = load_recipe(str(out / "recipe.toml")).network.name
    given.append(("--network", name if ":" in name else None))
    places_given = [str(part) for pair in given if pair[1] is not None for part in pair]
    return shlex.join(["artoolkit", "train", "--resume", "--out", str(out), *places_given])


def resume_run(out: Path, machine: Machine, *, places: DataPlaces, asked: Asked) -> None:
    """Goes on with the run in `out`, or says which of the options ask for another one."""
    from artoolkit.training.recipe import differences, load_recipe
    from artoolkit.training.run import resume
    from artoolkit.training.state import require_state

    require_state(out)
    stored = load_recipe(str(out / "recipe.toml"))
    wanted = asked.recipe(
        asked.source or str(out / "recipe.toml"),
        **{"data.dataset": places.dataset or stored.data.dataset},
    )
    if unlike := differences(stored, wanted):
        raise UsageError(
            f"the run in {out} has another recipe: {'; '.join(unlike)}",
            hint="Leave these options out, or start a new run in another --out.",
        )
    data = open_data(places.dataset or stored.data.dataset, places.root, places.classes)
    carry_out(out, machine, lambda watcher: resume(out, data, machine=machine, watcher=watcher))


@click.command("train", short_help="Train a network from a recipe.")
@click.option("--recipe", "recipe_source", metavar="NAME|PATH", help="Recipe: a name or a file.")
@dataset_options()
@out_option(help_text="Folder of the run.")
@click.option(
    "--init",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Start from the encoder in this file: a checkpoint, or weights as published by "
    "torchvision, mmsegmentation and others.",
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
    from artoolkit.training.recipe import recipe_names

    machine = machine_of(device, workers)
    places = DataPlaces(dataset, data_root, classes)
    asked = Asked(recipe_source, assignments, changes_of(options), asked_network(options))
    if resume:
        resume_run(out, machine, places=places, asked=asked)
        return
    if recipe_source is None:
        raise UsageError("no recipe", expected=f"--recipe {'|'.join(recipe_names())} or a path")
    recipe = asked.recipe(recipe_source, **{"data.dataset": dataset})
    data = open_data(recipe.data.dataset, data_root, classes)
    from artoolkit.training.run import train

    encoder = open_encoder(init, recipe, data) if init is not None else None
    carry_out(
        out,
        machine,
        lambda watcher: train(recipe, data, out, encoder=encoder, machine=machine, watcher=watcher),
    )


def open_encoder(path: Path, recipe: Recipe, data: DataSet) -> Checkpoint:
    """The weights that the encoder starts from; says which they are, and what does not use them."""
    from artoolkit.networks.checkpoint import is_checkpoint, read_checkpoint

    if is_checkpoint(path):
        return read_checkpoint(path)
    from artoolkit.networks.importing import encoder_prefixes, trunk_from_published
    from artoolkit.training.assembly import build_network
    from artoolkit.training.processes import launched

    network = build_network(recipe, data.labels, seed=recipe.seed)
    trunk = trunk_from_published(path, network, data.labels)
    prefixes = encoder_prefixes(network)
    fresh = {key.split(".")[0] for key in network.state_dict() if not key.startswith(prefixes)}
    if launched().first:
        click.echo(
            f"{path} ({trunk.layout}): {len(trunk.checkpoint.state)} weights of the encoder "
            f"loaded; not used: {_some(trunk.left_out)}; "
            f"from seed {recipe.seed}: {_some(sorted(fresh))}",
            err=True,
        )
    return trunk.checkpoint


def _some(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more if names else "nothing"
