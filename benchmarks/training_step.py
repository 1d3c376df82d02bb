"""One training step, forwards, backwards and SGD, with and without affinity regression.

    python benchmarks/training_step.py
    python benchmarks/training_step.py --crop 512x1024 --batch 4 --again

`icnet` with the objective of the recipe `cityscapes-icnet`: cross-entropy of the three outputs
alone (the control), with affinity regression at the paper's grid, and at all points, both in the
fused form. All take turns in one process, each with a network of its own on the same images; fp32.
What the loss alone costs in time and memory: `loss_cost.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import click
import torch
from side_by_side import Seconds, in_turn, ratio, spread_percent, street, torch_threads
from suite import run_suite, shared_options

from artoolkit.cores import usable_cores
from artoolkit.deploy.untrained import numbered_classes
from artoolkit.labels import VOID
from artoolkit.networks.complexity import CLASSES
from artoolkit.training.assembly import build_network
from artoolkit.training.engine import Learner
from artoolkit.training.recipe import load_recipe
from artoolkit.training.terms import build_objective

SUITE = "training-step"
RECIPE = "cityscapes-icnet"
CONTROL = "cross-entropy alone"
ARMS: dict[str, dict[str, Any]] = {
    CONTROL: {"loss.ar_weight": 0.0},
    "with AR, the paper's grid": {"loss.ar_weight": 0.1, "loss.ar_grid": "center"},
    "with AR, all points": {"loss.ar_weight": 0.1, "loss.ar_grid": "all"},
}
Crop = tuple[int, int]


def parse_crop(text: str) -> Crop:
    """`256x512`, height first; `click.BadParameter` for anything else."""
    height, _, width = text.partition("x")
    if not (height.isdigit() and width.isdigit()) or min(int(height), int(width)) < 64:
        raise click.BadParameter(f"got {text}; expected HxW from 64x64 on, such as 256x512")
    return int(height), int(width)


def learner(arm: str, crop: Crop, batch: int) -> Learner:
    """A network at the start of the recipe, with the arm's objective."""
    changes = {
        "augmentation.crop": list(crop),
        "schedule.batch_size": batch,
        "execution.precision": "fp32",
        **ARMS[arm],
    }
    recipe = load_recipe(RECIPE, changes=changes)
    network = build_network(recipe, numbered_classes(CLASSES), seed=recipe.seed).train()
    objective = build_objective(recipe, network)
    # Long enough that the learning rate stays what it is.
    return Learner(network, objective, recipe, torch.device("cpu"), iterations_per_epoch=1000)


def make_batch(crop: Crop, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """uint8 streets B x H x W x 3, and labels in patches of 16 x 16, a tenth of them void."""
    generator = torch.Generator().manual_seed(0)
    height, width = (-(-side // 16) for side in crop)
    patches = torch.randint(0, CLASSES, (batch, height, width), generator=generator)
    labels = patches.repeat_interleave(16, 1).repeat_interleave(16, 2)[:, : crop[0], : crop[1]]
    labels[:, : crop[0] // 10] = VOID
    return torch.from_numpy(street(crop, batch)), labels.to(torch.uint8)


def measured(crop: Crop, batch: int, budget_s: float) -> dict[str, Any]:
    """Seconds of a step of every arm, in turn."""
    with torch_threads(usable_cores()):
        images, labels = make_batch(crop, batch)
        runs: dict[str, Callable[[], object]] = {
            arm: partial(learner(arm, crop, batch).step, images, labels, 0) for arm in ARMS
        }
        return {"seconds": in_turn(runs, budget_s=budget_s)}


def table(raw: dict[str, Any]) -> list[str]:
    """Markdown: a row an arm, a column a crop: time / the control's, median of paired ratios."""
    lines = [f"| one step, time / {CONTROL} | {' | '.join(raw)} |", "|---" * (len(raw) + 1) + "|"]
    for arm in ARMS:
        cells = [cell(values["seconds"], arm) for values in raw.values()]
        lines.append(f"| {arm} | {' | '.join(cells)} |")
    return lines


def cell(samples: Seconds, arm: str) -> str:
    """`1.012 ± 1 %`, and plainly `1` for the control beside itself."""
    if arm == CONTROL:
        return "1"
    spread = spread_percent(samples, arm, CONTROL)
    return f"{ratio(samples, arm, CONTROL):.3f} ± {spread:.0f} %"


@click.command()
@click.option("--crop", "crops", multiple=True, default=("256x512", "360x480"), show_default=True)
@click.option("--batch", default=4, show_default=True, type=click.IntRange(min=2))
@click.option("--seconds", "budget_s", default=25.0, show_default=True, help="For each crop.")
@shared_options
def main(*, crops: tuple[str, ...], batch: int, budget_s: float, machine: str, again: bool) -> None:
    """Measure a step at every crop; see the top of this file."""
    cases = {
        f"{crop} x {batch}": partial(measured, parse_crop(crop), batch, budget_s) for crop in crops
    }
    settings = {"batch": batch, "seconds": budget_s, "threads": usable_cores(), "recipe": RECIPE}
    click.echo(run_suite(SUITE, cases, machine=machine, settings=settings, again=again))


if __name__ == "__main__":
    main()
