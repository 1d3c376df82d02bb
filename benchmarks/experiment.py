"""Test of the loss on CamVid: all baselines, arms and seeds, on seen and on unseen drives.

    python benchmarks/experiment.py --data-root CAMVID             everything; days on a CPU
    python benchmarks/experiment.py --data-root CAMVID --at half   hours on a CPU
    python benchmarks/experiment.py --data-root CAMVID --at pretrained
    python benchmarks/experiment.py --data-root CAMVID --studies usual --arms control,all
    python benchmarks/experiment.py --render                       page and figure of what exists

The studies are those of `experiment_studies.py`. Baselines train 60 epochs from scratch, arms a
fifth of that at a fifth of the rate, falling to 0: long enough that the control itself stops
gaining from the longer training.

`--at pretrained` starts from ImageNet weights: Light-Weight RefineNet on EfficientNet-Lite0 at full
resolution, by the recipe `camvid-lite0` and its epochs; arms take a fifth of both too.

`--at half` sees the streets at half the resolution: crops of 96 x 128 from images at 0.375 to 0.875
of their size, judged from an input of 192 x 256 at the label's full size. Its rows are a file of
their own.

Rows are appended to results/experiment-camvid-*.jsonl seed by seed, so that an interruption loses
nothing, and the same command goes on; rows that are there already, from whatever machine, are not
done again. The page and its figure beside them are made from the rows alone; the page says what is
missing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from experiment_page import write_page
from experiment_studies import Study, studies
from result_file import RESULTS

from artoolkit.cli.options import CommaList
from artoolkit.cli.quickstart import Step, carry_out
from artoolkit.evaluation.experiment import append_row, read_rows
from artoolkit.training.history import METRICS


@dataclass(frozen=True)
class Setup:
    """What all studies of a file have in common: how their baselines are trained."""

    recipe: str
    epochs: int
    changes: tuple[str, ...] = ()
    init: str = ""


HALF = (
    "augmentation.crop=[96,128]",
    "augmentation.scale=[0.375,0.875]",
    "evaluation.imgsz=[192,256]",
)
SETUPS = {
    "full": Setup("camvid", 60, ("evaluation.every=10",)),
    "half": Setup("camvid", 60, ("evaluation.every=10", *HALF)),
    "pretrained": Setup("camvid-lite0", 16, init="efficientnet_lite0-imagenet"),
}
Row = dict[str, Any]


def baseline_step(study: Study, setup: Setup, folder: Path, data: tuple[str, ...]) -> Step:
    splits = (("train", study.train), ("val", study.val))
    chosen = [p for kind, name in splits for p in ("--set", f'data.{kind}.splits=["{name}"]')]
    changes = [part for change in setup.changes for part in ("--set", change)]
    return Step(
        "baseline",
        f"Baseline of {study.name}",
        ("train", "--recipe", setup.recipe, "--epochs", str(setup.epochs), "--seed",
         str(study.baseline_seed), *(("--init", setup.init) if setup.init else ()), *chosen,
         *changes, *data, "--out", str(folder)),
        run=folder,
    )  # fmt: skip


def experiment_steps(
    study: Study, runs: Path, seed: int, data: tuple[str, ...], more: tuple[str, ...]
) -> Iterator[Step]:
    """The arms of one seed, in folders below `runs`: arms with the same weights in one command."""
    by_weights: dict[tuple[float, ...], list[str]] = {}
    for arm, weights in study.arms:
        by_weights.setdefault(weights, []).append(arm)
    changes = [part for change in more for part in ("--set", change)]
    baseline = runs / study.baseline / "baseline" / "model.safetensors"
    for weights, arms in by_weights.items():
        asked = [] if weights == (0.0,) else ["--ar-weight", ",".join(map(str, weights))]
        yield Step(
            f"seed-{seed}-{'-'.join(arms)}",
            f"{study.name}, seed {seed}: {', '.join(arms)}",
            ("experiment", "--baseline", str(baseline), *data, "--arms", ",".join(arms),
             *asked, "--first-seed", str(seed), "--seeds", "1", *changes,
             "--drop-models", "--out", str(runs / study.name / "experiment")),
        )  # fmt: skip


def collect(runs: Path, into: Path) -> int:
    """Appends to `into` the finished rows under `runs` that it lacks; how many."""
    known = {_key(row) for row in read_rows(into)}
    added = 0
    for study in studies():
        for row in read_rows(runs / study.name / "experiment" / "runs.jsonl"):
            if _key({"study": study.name, **row}) not in known:
                append_row(into, {"study": study.name, **_baseline_of(study, runs), **row})
                added += 1
    return added


def _baseline_of(study: Study, runs: Path) -> Row:
    """Baseline of a row: its seed and last mIoU in percent."""
    metrics = (runs / study.baseline / "baseline" / METRICS).read_text("utf-8").splitlines()
    judged = [line["mIoU"] for line in map(json.loads, metrics) if "mIoU" in line]
    return {"baseline_seed": study.baseline_seed, "baseline_mIoU": judged[-1]}


def _key(row: Row) -> tuple[Any, ...]:
    return (row.get("study"), row["arm"], row["ar_weight"], row["seed"])


def seeds_of(text: str) -> tuple[int, ...]:
    """`1-5` or `3` -> the seeds."""
    first, _, last = text.partition("-")
    if not first.isdecimal() or (last and not last.isdecimal()):
        raise click.BadParameter(f"got {text}; expected SEED or FIRST-LAST", param_hint="--seeds")
    return tuple(range(int(first), int(last or first) + 1))


def chosen_studies(names: str | None) -> tuple[Study, ...]:
    known = {study.name: study for study in studies()}
    wanted = list(known) if names is None else names.split(",")
    if unknown := [name for name in wanted if name not in known]:
        raise click.BadParameter(
            f"got {unknown[0]}; expected {', '.join(known)}", param_hint="--studies"
        )
    return tuple(known[name] for name in wanted)


@click.command()
@click.option("--data-root", help="Folder of CamVid.")
@click.option(
    "--at",
    "at",
    type=click.Choice(list(SETUPS)),
    default="full",
    show_default=True,
    help="Resolution, and what baselines start from.",
)
@click.option("--runs", type=click.Path(path_type=Path), help="Default: runs/experiment-AT.")
@click.option("--studies", "names", metavar="NAME,...", help="Default: all.")
@click.option("--arms", type=CommaList(str), help="Of the studies' arms these.  [default: all]")
@click.option("--seeds", "seed_text", default="1-5", show_default=True, metavar="FIRST-LAST")
@click.option("--device", default="cpu", show_default=True)
@click.option("--set", "changes", multiple=True, metavar="PATH=VALUE", help="As in train.")
@click.option("--render", is_flag=True, help="Only collect rows and make the page.")
@click.option("--results", type=click.Path(path_type=Path), help="File of the rows.")
def main(
    *, data_root: str | None, at: str, runs: Path | None, names: str | None,
    arms: tuple[str, ...] | None, seed_text: str, device: str, changes: tuple[str, ...],
    render: bool, results: Path | None,
) -> None:  # fmt: skip
    """The whole experiment, or the part of it that is asked for; see the top of this file."""
    chosen, seeds = chosen_studies(names), seeds_of(seed_text)
    if arms:
        chosen = tuple(study.only(arms) for study in chosen)
    runs = runs or Path("runs") / f"experiment-{at}"
    results = results or RESULTS / f"experiment-camvid-{at}.jsonl"
    setup = replace(SETUPS[at], changes=(*SETUPS[at].changes, *changes))
    collect(runs, results)
    if not render:
        if data_root is None:
            raise click.UsageError("--data-root CAMVID is needed, or --render")
        data = ("--dataset", "camvid", "--data-root", data_root, "--device", device)
        for study in chosen:
            own = (*setup.changes, *study.changes(Path(data_root), setup.recipe))
            run_study(study, setup, runs, seeds, data, own=own, results=results)
    for path in write_page(read_rows(results), studies(), results):
        click.echo(path)


def run_study(
    study: Study, setup: Setup, runs: Path, seeds: Sequence[int], data: tuple[str, ...], *,
    own: tuple[str, ...], results: Path,
) -> None:  # fmt: skip
    """Run the rest of a study; rows are appended to `results` after each command.

    The baseline takes the changes of the setup, the arms those with the study's beside (`own`).
    """
    known = {_key(row) for row in read_rows(results)}
    left = [s for s in seeds if any((study.name, *run) not in known for run in study.runs([s]))]
    if not left:
        return
    baseline, finished = runs / study.baseline, runs / study.name / ".finished"
    carry_out(
        baseline_step(study, setup, baseline / "baseline", data),
        baseline / ".finished" / "baseline",
    )
    for seed in left:
        for step in experiment_steps(study, runs, seed, data, own):
            try:
                carry_out(step, finished / step.name)
            finally:
                collect(runs, results)


if __name__ == "__main__":
    main()
