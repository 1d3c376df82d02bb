"""`artoolkit finetune`: baseline Checkpoint -> Checkpoint, with affinity regression or without."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from artoolkit.cli.network_options import (
    AskedNetwork,
    asked_network,
    open_checkpoint,
    say_if_imported,
)
from artoolkit.cli.options import dataset_options, open_data, out_option
from artoolkit.cli.train import (
    Asked,
    DataPlaces,
    carry_out,
    changes_of,
    machine_of,
    recipe_options,
    resume_run,
)
from artoolkit.errors import UsageError
from artoolkit.words import GRIDS

if TYPE_CHECKING:
    from artoolkit.labels import LabelTable
    from artoolkit.networks.checkpoint import Checkpoint

# By benchmarks/results/experiment-camvid-half.md: the published 0.1 moved mIoU by about 0.1 points,
# 20 by more; the grids `center` and `all` helped alike, and `center` costs less.
WEIGHT, GRID = 20.0, "center"
DEFAULT_LOSS = {"loss.ar_weight": WEIGHT, "loss.ar_grid": GRID}


def loss_changes(
    ar_weight: float | None, ar_grid: str | None, ar_stride: int | None, control: bool
) -> dict[str, Any]:
    """Recipe paths and values of the options given; `control` is the same run without the loss."""
    given = {
        "loss.ar_weight": 0.0 if control else ar_weight,
        "loss.ar_grid": ar_grid,
        "loss.ar_stride": ar_stride,
    }
    return {path: value for path, value in given.items() if value is not None}


def default_loss(recipe_source: str | None) -> dict[str, Any]:
    """The term that makes a fine-tuning one, where no recipe has a weight for it."""
    from artoolkit.training.recipe import load_recipe

    if recipe_source is not None and load_recipe(recipe_source).loss.ar_weight > 0:
        return {}
    return DEFAULT_LOSS


def open_baseline(
    path: Path, network: AskedNetwork, places: DataPlaces, recipe_source: str | None
) -> Checkpoint:
    """The baseline; where it is weights of others, with the classes of the data set."""

    def labels() -> LabelTable:
        from artoolkit.training.recipe import load_recipe

        dataset = places.dataset
        if dataset is None and recipe_source is not None:
            dataset = load_recipe(recipe_source).data.dataset
        return open_data(dataset, places.root, places.classes).labels

    from artoolkit.training.processes import launched

    checkpoint = open_checkpoint(path, network, labels)
    if launched().first:
        say_if_imported(checkpoint)
    return checkpoint


@click.command("finetune", short_help="Fine-tune a baseline with the affinity-regression loss.")
@click.option(
    "--baseline",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="What to start from: a trained checkpoint, or with --network weights of others.",
)
@dataset_options()
@out_option(help_text="Folder of the run.")
@click.option(
    "--ar-weight",
    type=click.FloatRange(min=0),
    help=f"Weight of the affinity-regression term; published: 0.1.  [default: {WEIGHT:g}]",
)
@click.option(
    "--ar-grid",
    type=click.Choice(GRIDS),
    help=f"Where its points lie.  [default: {GRID}]",
)
@click.option(
    "--ar-stride",
    type=click.IntRange(min=1),
    help="Grid 'all': label pixels between points; the network's output stride by default.",
)
@click.option("--control", is_flag=True, help="The same run with the weight 0.")
@click.option(
    "--recipe",
    "recipe_source",
    metavar="NAME|PATH",
    help=f"Take this recipe as it stands (with the AR weight {WEIGHT:g} if it has none), not the "
    "baseline's at a fifth of its epochs and rate.",
)
@recipe_options
def command(
    baseline: Path | None,
    dataset: str | None,
    data_root: Path | None,
    classes: Path | None,
    out: Path,
    ar_weight: float | None,
    ar_grid: str | None,
    ar_stride: int | None,
    control: bool,
    recipe_source: str | None,
    device: str,
    workers: int | None,
    assignments: tuple[str, ...],
    resume: bool,
    **options: Any,
) -> None:
    """Fine-tune a baseline with the affinity-regression loss, or as its --control.

    Network, crop and augmentation are the baseline's; epochs and learning rate a fifth of its own.
    Control and candidate see the same images in the same order.
    """
    machine = machine_of(device, workers)
    places = DataPlaces(dataset, data_root, classes)
    loss = loss_changes(ar_weight, ar_grid, ar_stride, control)
    changes = {**changes_of(options), **loss}
    network = asked_network(options)
    if resume:
        asked = Asked(recipe_source, assignments, changes, network)
        resume_run(out, machine, places=places, asked=asked)
        return
    if baseline is None:
        raise UsageError("no baseline to start from", expected="--baseline CKPT")
    from artoolkit.training.finetune import finetune_recipe
    from artoolkit.training.run import train

    start = open_baseline(baseline, network, places, recipe_source)
    recipe = finetune_recipe(
        start,
        source=recipe_source,
        assignments=assignments,
        changes={**default_loss(recipe_source), **changes, "data.dataset": dataset},
    )
    data = open_data(recipe.data.dataset, data_root, classes)
    carry_out(
        out,
        machine,
        lambda watcher: train(recipe, data, out, baseline=start, machine=machine, watcher=watcher),
    )
