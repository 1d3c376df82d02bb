"""`artoolkit finetune`: baseline Checkpoint -> Checkpoint, with affinity regression or without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from artoolkit.cli.names import RECIPE
from artoolkit.cli.options import dataset_options, out_option
from artoolkit.cli.train import carry_out, recipe_options
from artoolkit.words import FINETUNE_GRID, FINETUNE_WEIGHT, GRIDS


@click.command("finetune", short_help="Fine-tune a baseline with the affinity-regression loss.")
@click.option(
    "--baseline",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="What to start from: a trained checkpoint, or with --network weights of others.",
)
@dataset_options()
@out_option(help_text="Folder of the run; not needed with --find-lr.", required=False)
@click.option(
    "--ar-weight",
    type=click.FloatRange(min=0),
    help=f"Weight of the affinity-regression term; published: 0.1.  [default: {FINETUNE_WEIGHT:g}]",
)
@click.option(
    "--ar-grid",
    type=click.Choice(GRIDS),
    help=f"Where its points lie.  [default: {FINETUNE_GRID}]",
)
@click.option(
    "--ar-stride",
    type=click.IntRange(min=1),
    help="Grid 'all': label pixels between points; the network's output stride by default.",
)
@click.option("--control", is_flag=True, help="The same run with the weight 0.")
@click.option(
    "--recipe",
    type=RECIPE,
    metavar="NAME|PATH",
    help=f"Take this recipe as it stands (with the AR weight {FINETUNE_WEIGHT:g} if it has none), "
    "not the baseline's at a fifth of its epochs and rate.",
)
@recipe_options
def command(**options: Any) -> None:
    """Fine-tune a baseline with the affinity-regression loss, or as its --control.

    Network, crop and augmentation are the baseline's; epochs and learning rate a fifth of its own.
    Control and candidate see the same images in the same order.
    """
    from artoolkit import finetune

    carry_out(finetune, options)
