"""`artoolkit experiment`: every arm from one baseline, judged against its control."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from artoolkit.cli.options import (
    CommaList,
    Command,
    dataset_options,
    device_option,
    open_data,
    out_option,
)
from artoolkit.errors import ArtoolkitError, UsageError
from artoolkit.words import ARMS

if TYPE_CHECKING:
    from artoolkit.training.experiment import Experiment


def grid_options(command: Command) -> Command:
    """Which runs there are."""
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
            "--seeds", type=click.IntRange(min=1), default=5, show_default=True,
            help="Runs of every arm and weight, each with another data order.",
        ),
        click.option(
            "--ar-stride", type=click.IntRange(min=1),
            help="Arm 'all': label pixels between points; the network's output stride by default.",
        ),
        click.option(
            "--ar-weight", "weights", type=CommaList(float), default="0.1,5,20", show_default=True,
            help="Weights of the loss, tried in every arm but control.",
        ),
        click.option(
            "--arms", type=CommaList(str, ARMS), default=",".join(ARMS), show_default=True,
            help="control, or where the loss's points lie.",
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
    type=CommaList(str),
    help="Splits that the arms train on.  [default: the baseline's]",
)
@click.option(
    "--val-split",
    type=CommaList(str),
    help="Splits that they are judged on, together.  [default: the baseline's]",
)
@grid_options
@click.option(
    "--recipe",
    "recipe_source",
    metavar="NAME|PATH",
    help="Take this recipe as it stands, not the baseline's at a fifth of its epochs and rate.",
)
@click.option("--set", "assignments", multiple=True, metavar="PATH=VALUE", help="As in finetune.")
@click.option("--drop-models", is_flag=True, help="Keep no weights of a run that was judged.")
@click.option("--workers", type=click.IntRange(min=0), help="Processes that load images.")
@device_option()
@out_option(help_text="Folder of the experiment.")
def command(
    *,
    baseline: Path,
    dataset: str | None,
    data_root: Path | None,
    classes: Path | None,
    train_split: tuple[str, ...] | None,
    val_split: tuple[str, ...] | None,
    arms: tuple[str, ...],
    weights: tuple[float, ...],
    ar_stride: int | None,
    seeds: int,
    first_seed: int,
    epochs: int | None,
    recipe_source: str | None,
    assignments: tuple[str, ...],
    drop_models: bool,
    workers: int | None,
    device: str,
    out: Path,
) -> None:
    """Fine-tune a baseline in every arm, weight and seed, and compare each with its control.

    Within a seed all arms see the same images in the same order. OUT/runs.jsonl gets a row when a
    run is finished; OUT/table.md and OUT/figure.svg show what there is. Ctrl-C saves; the same
    command goes on, also after a kill.

    To judge on a drive that nobody has seen, train the baseline without it first:

    \b
      artoolkit train --recipe camvid --data-root CAMVID --out base --epochs 60
        --set 'data.train.splits=["train-without-0001TP"]'
        --set 'data.val.splits=["drive:0001TP"]'
    """
    from artoolkit.training.run import Machine

    machine = Machine.of(device, workers)
    if machine.processes.count > 1:
        raise UsageError(
            "an experiment runs in one process",
            got=f"{machine.processes.count} from torchrun",
            hint="Start one experiment a GPU instead, each with its own --first-seed and --out.",
        )
    from artoolkit.networks.checkpoint import read_checkpoint
    from artoolkit.training.experiment import Experiment, common_recipe, planned_runs
    from artoolkit.training.finetune import finetune_recipe

    runs = planned_runs(arms, weights, range(first_seed, first_seed + seeds))
    start = read_checkpoint(baseline)
    changes: dict[str, Any] = {
        "schedule.epochs": epochs,
        "data.dataset": dataset,
        "data.train.splits": list(train_split) if train_split else None,
        "data.val.splits": list(val_split) if val_split else None,
    }
    recipe = finetune_recipe(start, source=recipe_source, assignments=assignments, changes=changes)
    data = open_data(recipe.data.dataset, data_root, classes)
    experiment = Experiment(
        common=common_recipe(recipe), baseline=start, dataset=data, out=out, machine=machine,
        stride=ar_stride, keep_models=not drop_models,
    )  # fmt: skip
    _carry_out(experiment, runs)


def _carry_out(experiment: Experiment, runs: Any) -> None:
    """With a bar; whatever ends it, table and figure show the finished runs."""
    from rich.console import Console

    from artoolkit.training.display import ExperimentBar
    from artoolkit.training.experiment import ROWS, run_experiment

    console = Console(stderr=True, soft_wrap=True, highlight=False)
    finished = False
    try:
        with ExperimentBar(console) as bar:
            finished = run_experiment(experiment, runs, bar)
    except (ArtoolkitError, KeyboardInterrupt):
        if (experiment.out / ROWS).exists():
            console.print("Finished runs are kept. The same command goes on.")
        raise
    if experiment.rows:
        for line in write_summary(experiment.out, f"{experiment.common.name}"):
            click.echo(line)
    if not finished:
        console.print("Stopped and saved. The same command goes on.")
        raise click.exceptions.Exit(130)


def write_summary(out: Path, title: str) -> list[str]:
    """Writes `out`/table.md, and figure.svg where matplotlib is there; the table's lines."""
    from artoolkit.evaluation.experiment import COLUMNS, markdown_table, read_rows, summarise
    from artoolkit.evidence.seal import write_atomically
    from artoolkit.optional import is_installed
    from artoolkit.report.experiment_figure import experiment_svg

    summaries = summarise(read_rows(out / "runs.jsonl"), metrics=tuple(COLUMNS))
    lines = markdown_table(summaries)
    write_atomically(out / "table.md", "\n".join([*lines, ""]).encode())
    if is_installed("matplotlib"):
        write_atomically(out / "figure.svg", experiment_svg(summaries, title).encode())
    return [*lines, str(out / "table.md")]
