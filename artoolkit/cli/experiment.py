"""`artoolkit experiment`: every arm from one baseline, judged against its control."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from artoolkit.cli.names import RECIPE
from artoolkit.cli.options import (
    CommaList,
    Command,
    dataset_options,
    device_option,
    out_option,
)
from artoolkit.cli.talk import json_option, tell
from artoolkit.errors import ArtoolkitError, UsageError
from artoolkit.words import ARMS, CONTROL


def grid_options(command: Command) -> Command:
    """Options that choose the runs."""
    options: tuple[Callable[[Command], Command], ...] = (
        click.option(
            "--epochs",
            type=click.IntRange(min=1),
            help="Epochs of every run.  [default: a fifth of the baseline's]",
        ),
        click.option(
            "--first-seed", type=click.IntRange(min=0), default=1, show_default=True,
            help="Seeds count up from here.",
        ),
        click.option(
            "--seeds", type=click.IntRange(min=1),
            help="Runs of every arm and weight, each with another data order.  "
            "[default: 5, or the last of --looks]",
        ),
        click.option(
            "--looks", type=CommaList(int), metavar="N,...",
            help="Numbers of seeds, such as 2,4,8: after each, arms that cannot be the best any "
            "more are dropped.",
        ),
        click.option(
            "--shard", metavar="I/N",
            help="Do the runs I, I + N, ... of all; other shards may write to the same --out.",
        ),
        click.option(
            "--cluster", metavar="ADDRESS",
            help="Let the workers of this Dask scheduler do the runs; they see the same paths.",
        ),
        click.option(
            "--ar-stride", "stride", type=click.IntRange(min=1),
            help="Arm 'all': label pixels between points; the network's output stride by default.",
        ),
        click.option(
            "--ar-weight", "weights", type=CommaList(float), default="0.1,5,20", show_default=True,
            help="Weights of the loss, tried in every arm but control.",
        ),
        click.option(
            "--arms", type=CommaList(str, ARMS),
            help=f"control, or where the loss's points lie.  [default: {','.join(ARMS)}; "
            "control beside --arm]",
        ),
        click.option(
            "--arm", "named", multiple=True, metavar="NAME=SETTINGS",
            help="An arm of your own, such as 'both=ar-weight=20 class-weights=median-frequency': "
            "options of finetune without their dashes, or recipe paths, blanks between.",
        ),
        click.option(
            "--teacher", "teachers", multiple=True, metavar="[NETWORK=]FILE",
            help="As in finetune, for arms with distillation or affinity-distillation.",
        ),
    )  # fmt: skip
    for option in options:
        command = option(command)
    return command


@click.command("experiment", short_help="Does the loss help? All arms and seeds from a baseline.")
@click.option(
    "--baseline",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="CKPT",
    required=True,
    help="The converged checkpoint that every run starts from.",
)
@dataset_options()
@click.option(
    "--train-split",
    "train_splits",
    type=CommaList(str),
    help="Splits that the arms train on.  [default: the baseline's]",
)
@click.option(
    "--val-split",
    "val_splits",
    type=CommaList(str),
    help="Splits that they are judged on, together.  [default: the baseline's]",
)
@grid_options
@click.option(
    "--recipe",
    type=RECIPE,
    metavar="NAME|PATH",
    help="Take this recipe as it stands, not the baseline's at a fifth of its epochs and rate.",
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="PATH=VALUE",
    help="Replace a recipe value, e.g. optimizer.lr=0.01.",
)
@click.option("--drop-models", is_flag=True, help="Keep no weights of a run that was judged.")
@click.option("--workers", type=click.IntRange(min=0), help="Processes that load images.")
@device_option()
@out_option(help_text="Folder of the experiment.")
@json_option
def command(
    *,
    first_seed: int,
    seeds: int | None,
    shard: str | None,
    drop_models: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Fine-tune a baseline in every arm, weight and seed, and compare each with its control.

    Within a seed all arms see the same images in the same order. OUT/runs.jsonl gets a row when a
    run is finished; OUT/table.md and OUT/figure.svg show what there is. Ctrl-C saves; the same
    command goes on, also after a kill.

    To evaluate on a held-out drive, train the baseline without it first:

    \b
      artoolkit train --recipe camvid --data-root CAMVID --out base --epochs 60
        --set 'data.train.splits=["train-without-0001TP"]'
        --set 'data.val.splits=["drive:0001TP"]'
    """
    from artoolkit.cli.terminal import Terminal
    from artoolkit.optional import require

    require("torch", "training")
    from artoolkit.evaluation.experiment import ROWS, read_rows
    from artoolkit.report.experiment_figure import write_summary
    from artoolkit.training.display import ExperimentBar
    from artoolkit.training.experiment import RECIPE, experiment
    from artoolkit.training.recipe import load_recipe

    out: Path = options["out"]
    console = Terminal(stderr=True, soft_wrap=True, highlight=False)
    options["arms"] = options["arms"] or ([CONTROL] if options["named"] else ARMS)
    options["looks"] = options["looks"] or ()
    if shard:
        options["shard"] = _shard(shard)
    seeds = seeds or (options["looks"] or [5])[-1]
    options |= {"seeds": range(first_seed, first_seed + seeds), "keep_models": not drop_models}
    try:
        with ExperimentBar(console) as bar:
            finished = experiment(**options, watcher=bar)
    except (ArtoolkitError, KeyboardInterrupt):
        if (out / ROWS).exists():
            console.print("Finished runs are kept. The same command goes on.")
        raise
    rows = read_rows(out / ROWS)
    summary = write_summary(out, load_recipe(out / RECIPE).name)
    tell({"out": out, "finished": finished, "runs": rows}, *summary, as_json=as_json)
    if not finished:
        console.print("Stopped and saved. The same command goes on.")
        raise click.exceptions.Exit(130)


def _shard(text: str) -> tuple[int, int]:
    index, _, count = text.partition("/")
    if not (index.isdigit() and count.isdigit()):
        raise UsageError("--shard is I/N with I from 1 to N", got=text, expected="such as 2/8")
    return int(index), int(count)
