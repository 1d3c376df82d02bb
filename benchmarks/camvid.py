"""CamVid to a verdict: baseline from ImageNet weights, AR and control, export, and what came of it.

    pip install "artoolkit[pretrained]"
    python benchmarks/camvid.py --data-root CAMVID
    python benchmarks/camvid.py --data-root CAMVID --recipe camvid    ICNet from scratch

Hours on a CPU. Every finished step is kept under --runs, and the same command goes on from there;
the export, which also times, belongs on a quiet machine (`--until`). Validation shares its drive
with the training images: this says nothing about unseen streets.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from result_file import write_result

from artoolkit.cli.quickstart import VERDICTS, Step, carry_out
from artoolkit.evidence.seal import file_sha256

IMGSZ = ("360", "480")
AR = ("--ar-weight", "20", "--ar-grid", "center")
# What a recipe's baseline starts from; a recipe that is not here starts from random weights.
INIT = {"camvid-lite0": ("--init", "efficientnet_lite0-imagenet")}
EVIDENCE = ("verdict", "latency", "memory-baseline", "memory-candidate",
            "quality-baseline", "quality-candidate")  # fmt: skip


def steps(runs: Path, data_root: str, recipe: str, changes: tuple[str, ...]) -> list[Step]:
    """The commands, in order; `changes` are put over the baseline's recipe."""
    data = ("--dataset", "camvid", "--data-root", data_root)
    folders = {arm: runs / arm for arm in ("baseline", "ar", "control")}
    checkpoints = {arm: str(folder / "model.safetensors") for arm, folder in folders.items()}
    finetune = ("finetune", "--baseline", checkpoints["baseline"], *data)

    def training(arm: str, why: str, *arguments: str) -> Step:
        return Step(arm, why, (*arguments, "--out", str(folders[arm])), run=folders[arm])

    overrides = [part for change in changes for part in ("--set", change)]
    baseline = ("train", "--recipe", recipe, *INIT.get(recipe, ()), *overrides)
    export = ("export", checkpoints["ar"], "--baseline", checkpoints["baseline"], *data)
    evaluate = ("evaluate", checkpoints["control"], *data)
    return [
        training("baseline", "Train the baseline", *baseline, *data),
        training("control", "Fine-tune without the loss", *finetune, "--control"),
        training("ar", "Fine-tune with affinity regression", *finetune, *AR),
        Step("evaluate", "Control", (*evaluate, "--out", str(runs / "quality-control.json"))),
        Step(
            "export",
            "Export and judge",
            (*export, "--imgsz", *IMGSZ, "--out", str(runs / "bundle"), "--overwrite"),
            good=VERDICTS,
        ),
    ]


def rows_of(run: Path) -> list[dict[str, Any]]:
    """The rows of a run's metrics.jsonl, without the lines that only say where it ran."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if row["kind"] in ("iteration", "epoch")]


def collected(runs: Path) -> dict[str, Any]:
    """Training rows of every arm, the newest evidence, the control's matrices, the hashes."""
    evidence = max((runs / "bundle" / "evidence").iterdir())
    arms = ("baseline", "control", "ar")
    return {
        "training": {arm: rows_of(runs / arm) for arm in arms},
        "evidence": {n: json.loads((evidence / f"{n}.json").read_text()) for n in EVIDENCE},
        "quality-control": json.loads((runs / "quality-control.json").read_text()),
        "checkpoints": {arm: file_sha256(runs / arm / "model.safetensors") for arm in arms},
    }


@click.command()
@click.option("--data-root", required=True, help="Folder of CamVid.")
@click.option("--recipe", default="camvid-lite0", show_default=True, help="Of the baseline.")
@click.option("--runs", type=click.Path(path_type=Path), help="Default: runs/RECIPE.")
@click.option("--until", metavar="STEP", help="Stop before this step, such as export.")
@click.option("--set", "changes", multiple=True, metavar="PATH=VALUE", help="As in train.")
@click.option("--machine", default="x86-2core", show_default=True, help="Kind of machine.")
def main(
    *, data_root: str, recipe: str, runs: Path | None, until: str | None, changes: tuple[str, ...],
    machine: str,
) -> None:  # fmt: skip
    """Train, fine-tune, export and judge on CamVid, and write the result file."""
    runs = runs or Path("runs") / recipe
    for step in steps(runs, data_root, recipe, changes):
        if step.name == until:
            return
        carry_out(step, runs / ".finished" / step.name)
    recipes = {arm: (runs / arm / "recipe.toml").read_text() for arm in ("baseline", "ar")}
    settings = {"recipes": recipes, "changes": changes, "imgsz": IMGSZ, "ar": AR}
    click.echo(write_result(recipe, machine=machine, device="cpu", settings=settings,
                            raw=collected(runs)))  # fmt: skip


if __name__ == "__main__":
    main()
