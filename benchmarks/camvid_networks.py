"""Several networks from scratch on CamVid by the same recipe: their curves in one result file.

    python benchmarks/camvid_networks.py --data-root CAMVID --network icnet,refinenet_lw_mbv2
    python benchmarks/camvid_networks.py --data-root CAMVID --network refinenet_lw50 --epochs 10

The one difference: nothing normalises the decoder of Light-Weight RefineNet, so that its loss is
not finite after four steps at the recipe's rate of 0.05. It takes its authors' 0.005 there.

Hours on a CPU. Each network has a folder of its own under --runs; a stopped one goes on there, and
the result file holds every finished one. Validation shares its drive with the training images.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from camvid import rows_of
from result_file import write_result

from artoolkit.cli.options import CommaList
from artoolkit.cli.quickstart import Step, carry_out
from artoolkit.training.recipe import load_recipe

SUITE = "camvid-networks"
FINISHED = ".finished"
# By the first letters of a network's name; --set is put over them.
OWN = {"refinenet_lw": ("optimizer.decoder_multiplier=0.1", "schedule.warmup_iterations=100")}


def step(
    network: str, run: Path, data_root: str, *, epochs: int | None, changes: tuple[str, ...]
) -> Step:
    """The command that trains `network`; `changes` are put over the recipe `camvid`."""
    own = [change for start, given in OWN.items() if network.startswith(start) for change in given]
    overrides = [part for change in (*own, *changes) for part in ("--set", change)]
    length = () if epochs is None else ("--epochs", str(epochs))
    command = ("train", "--recipe", "camvid", "--network", network, *length, *overrides)
    data = ("--dataset", "camvid", "--data-root", data_root)
    return Step(network, f"Train {network}", (*command, *data, "--out", str(run)), run=run)


def collected(runs: Path) -> dict[str, Any]:
    """Recipe and rows of every run that was finished, by network."""
    finished = sorted(path.name for path in (runs / FINISHED).iterdir())
    return {
        name: {"recipe": (runs / name / "recipe.toml").read_text(), "rows": rows_of(runs / name)}
        for name in finished
    }


def table(raw: dict[str, Any]) -> list[str]:
    """Per network: epochs, loss and mIoU of the first and the last epoch."""
    lines = [
        "| network | epochs | loss, first to last | val mIoU (%), first to last | best |",
        "|---|---|---|---|---|",
    ]
    for name, run in raw.items():
        steps = [row for row in run["rows"] if row["kind"] == "iteration"]
        epochs = [row for row in run["rows"] if row["kind"] == "epoch"]
        judged = [row["mIoU"] for row in epochs if "mIoU" in row]
        first, last = (mean_loss(steps, epochs[at]["epoch"]) for at in (0, -1))
        lines.append(
            f"| `{name}` | {epochs[-1]['epoch']} | {first:.3f} to {last:.3f} | "
            f"{judged[0]:.2f} to {judged[-1]:.2f} | {max(judged):.2f} |"
        )
    return lines


def mean_loss(steps: list[dict[str, Any]], epoch: int) -> float:
    """Mean of an epoch's training losses."""
    losses = [row["loss"] for row in steps if row["epoch"] == epoch]
    return sum(losses) / len(losses)


@click.command()
@click.option("--data-root", required=True, help="Folder of CamVid.")
@click.option(
    "--network", "networks", type=CommaList(str), default="icnet,refinenet_lw_mbv2",
    show_default=True, help="Networks to train, with commas.",
)  # fmt: skip
@click.option(
    "--epochs", type=click.IntRange(min=1), help="Epochs of each (default: the recipe's)."
)
@click.option("--runs", type=click.Path(path_type=Path), default=Path("runs/camvid-networks"))
@click.option("--set", "changes", multiple=True, metavar="PATH=VALUE", help="As in train.")
@click.option("--machine", default="x86-2core", show_default=True, help="Kind of machine.")
def main(
    *,
    data_root: str,
    networks: tuple[str, ...],
    epochs: int | None,
    runs: Path,
    changes: tuple[str, ...],
    machine: str,
) -> None:
    """Train networks on CamVid by one recipe, and write their curves as a result file."""
    for name in networks:
        done = step(name, runs / name, data_root, epochs=epochs, changes=changes)
        carry_out(done, runs / FINISHED / name)
    raw = collected(runs)
    settings = {"recipe": json.loads(load_recipe("camvid").model_dump_json()), "own": OWN}
    click.echo("\n".join(table(raw)))
    click.echo(write_result(SUITE, machine=machine, device="cpu", settings=settings, raw=raw))


if __name__ == "__main__":
    main()
