"""Test of the loss: every arm from one baseline, with one schedule and data order per seed.

An experiment's folder holds recipe.toml (what all arms share), runs.jsonl (one row a finished run)
and runs/ (a run's own folder each). Runs go seed by seed, the control first, so that whatever
stops the experiment leaves pairs. The same call goes on: what has a row is left out, and a run
that was stopped is resumed. Read `experiment` first.
"""

from __future__ import annotations

import json
import shutil
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from artoolkit import __version__
from artoolkit.data import DataSet, dataset_of
from artoolkit.errors import DataError, UsageError
from artoolkit.evaluation.experiment import ROWS, Row, append_row, read_rows
from artoolkit.evidence.folders import owned
from artoolkit.evidence.seal import file_sha256, write_atomically
from artoolkit.files import read_json_lines
from artoolkit.networks.checkpoint import Checkpoint, read_checkpoint
from artoolkit.networks.loading import load
from artoolkit.training.assembly import check_baseline, usable_device
from artoolkit.training.examination import examine
from artoolkit.training.finetune import finetune_recipe
from artoolkit.training.history import METRICS
from artoolkit.training.loader import selected
from artoolkit.training.recipe import (
    Recipe,
    Selection,
    differences,
    load_recipe,
    recipe_from_values,
    toml_from_recipe,
)
from artoolkit.training.run import MODEL, Machine, Watcher, resume, start
from artoolkit.training.state import STATE
from artoolkit.training.train import name_of
from artoolkit.words import ARMS, CONTROL

RECIPE, RUNS = "recipe.toml", "runs"


@dataclass(frozen=True)
class Run:
    """One run of an experiment: an arm at a weight (0 for the control) with a seed."""

    arm: str
    ar_weight: float
    seed: int

    @property
    def name(self) -> str:
        weight = "" if self.arm == CONTROL else f"-{self.ar_weight:g}"
        return f"{self.arm}{weight}-seed{self.seed}"

    def recipe(self, common: Recipe, *, stride: int | None = None) -> Recipe:
        """`common` with this run's seed and loss; `stride` is for the grid `all`."""
        loss: dict[str, Any] = {"loss.ar_weight": self.ar_weight}
        if self.arm != CONTROL:
            loss["loss.ar_grid"] = self.arm
            loss["loss.ar_stride"] = stride if self.arm == "all" else None
        return recipe_from_values(
            common.model_dump(mode="json", exclude_none=True),
            f"the recipe of {self.name}",
            changes={"name": f"{common.name}-{self.name}", "seed": self.seed, **loss},
        )


class ExperimentWatcher(Watcher, Protocol):
    """Watcher of runs too; `display.ExperimentBar` shows them."""

    def planned(self, runs: Sequence[Run], finished: int, epochs: int) -> None: ...
    def judging(self, run: Run, done: int, images: int) -> None: ...
    def finished(self, run: Run, row: Row) -> None: ...


def planned_runs(
    arms: Sequence[str], weights: Sequence[float], seeds: Sequence[int]
) -> tuple[Run, ...]:
    """Every arm at every weight (the control once) with every seed, seed by seed.

    Raises `UsageError` for a weight that is not above 0.
    """
    if wrong := [weight for weight in weights if not weight > 0]:
        raise UsageError("--ar-weight must be above 0", got=f"{wrong[0]:g}",
                         hint="The weight 0 is the arm control.")  # fmt: skip
    chosen = sorted(dict.fromkeys(arms), key=lambda arm: arm != CONTROL)
    return tuple(
        Run(arm, weight, seed)
        for seed in seeds
        for arm in chosen
        for weight in ((0.0,) if arm == CONTROL else tuple(dict.fromkeys(weights)))
    )


def common_recipe(recipe: Recipe) -> Recipe:
    """`recipe` as the arms share it: no loss of its own, evaluated after the last epoch only."""
    loss = recipe.loss.model_copy(update={"ar_weight": 0.0, "ar_grid": "center", "ar_stride": None})
    evaluation = recipe.evaluation.model_copy(update={"every": recipe.schedule.epochs})
    return recipe.model_copy(update={"loss": loss, "evaluation": evaluation})


def check_unseen(baseline: Checkpoint, recipe: Recipe, dataset: DataSet) -> None:
    """`UsageError` where images that the arms are judged on were trained on.

    By the arms themselves, or by the baseline as far as its own recipe says.
    """
    judged = {sample.image for sample in selected(dataset, recipe.data.val)}
    trained = {"the arms": recipe.data.train}
    stored = baseline.meta.recipe.get("data", {})
    if stored.get("dataset") in (None, dataset.name) and "train" in stored:
        trained["the baseline"] = Selection.model_validate(stored["train"])
    for who, selection in trained.items():
        seen = judged & {sample.image for sample in selected(dataset, selection)}
        if seen:
            raise UsageError(
                f"{who} trained on images of the validation split",
                got=f"{len(seen)} of {len(judged)}, for example {min(seen).name}",
                hint=f"Train a baseline on the same split: artoolkit train --set "
                f"'data.train.splits={json.dumps(list(recipe.data.train.splits))}'.",
            )


@dataclass(frozen=True)
class Experiment:
    """Settings that all runs share. `keep_models`: whether a judged run keeps its weights."""

    common: Recipe
    baseline: Checkpoint
    dataset: DataSet
    out: Path
    machine: Machine = field(default_factory=Machine)
    stride: int | None = None
    keep_models: bool = True

    @property
    def rows(self) -> list[Row]:
        """The rows of the finished runs."""
        return read_rows(self.out / ROWS)


def experiment(
    baseline: Checkpoint | Path | str,
    *,
    out: Path | str,
    watcher: ExperimentWatcher,
    dataset: DataSet | str | None = None,
    data_root: Path | str | None = None,
    classes: Path | str | None = None,
    train_splits: Sequence[str] | None = None,
    val_splits: Sequence[str] | None = None,
    arms: Sequence[str] = ARMS,
    weights: Sequence[float] = (0.1, 5.0, 20.0),
    stride: int | None = None,
    seeds: Sequence[int] = range(1, 6),
    epochs: int | None = None,
    recipe: Recipe | Path | str | None = None,
    assignments: Sequence[str] = (),
    keep_models: bool = True,
    device: str = "cpu",
    workers: int | None = None,
) -> bool:
    """Fine-tune `baseline` in every arm, weight and seed that `out` does not hold yet.

    train_splits, val_splits: by default the baseline's; stride: of the grid `all`; epochs and
    recipe as in `finetune_recipe`; keep_models: whether a judged run keeps its weights. Returns
    False where a stop was asked for, with everything saved. Raises what `run_experiment` does, and
    `UsageError` under torchrun.
    """
    machine = Machine.of(device, workers)
    if machine.processes.count > 1:
        raise UsageError(
            "an experiment runs in one process",
            got=f"{machine.processes.count} from torchrun",
            hint="Start one experiment a GPU instead, each with its own --first-seed and --out.",
        )
    runs = planned_runs(arms, weights, seeds)
    opened = load(baseline)
    changes = {
        "schedule.epochs": epochs,
        "data.dataset": name_of(dataset),
        "data.train.splits": list(train_splits) if train_splits else None,
        "data.val.splits": list(val_splits) if val_splits else None,
    }
    chosen = finetune_recipe(opened, source=recipe, assignments=assignments, changes=changes)
    data = dataset_of(dataset or chosen.data.dataset, data_root, classes=classes)
    shared = Experiment(
        common=common_recipe(chosen), baseline=opened, dataset=data, out=Path(out), machine=machine,
        stride=stride, keep_models=keep_models,
    )  # fmt: skip
    return run_experiment(shared, runs, watcher)


def run_experiment(experiment: Experiment, runs: Sequence[Run], watcher: ExperimentWatcher) -> bool:
    """Do the rest of `runs`; False where a stop was asked for, with everything saved.

    Raises `UsageError` where the folder holds another experiment or is in use, and whatever stops
    a run; the rows of finished runs stay, and the same call goes on.
    """
    check_baseline(experiment.baseline, experiment.common, experiment.dataset.labels)
    check_unseen(experiment.baseline, experiment.common, experiment.dataset)
    with owned(experiment.out):
        identity = _claim(experiment)
        done = {(row["arm"], row["ar_weight"], row["seed"]) for row in experiment.rows}
        left = [run for run in runs if (run.arm, run.ar_weight, run.seed) not in done]
        watcher.planned(left, len(runs) - len(left), experiment.common.schedule.epochs)
        for run in left:
            if not _trained(experiment, run, watcher):
                return False
            row = _row(experiment, run, identity, watcher)
            append_row(experiment.out / ROWS, row)
            _tidy(experiment, run)
            watcher.finished(run, row)
    return True


def _claim(experiment: Experiment) -> str:
    """The baseline's sha256, after making sure that the folder is this experiment's."""
    path, wanted = experiment.out / RECIPE, experiment.common.model_copy(update={"seed": 0})
    identity = file_sha256(experiment.baseline.path) if experiment.baseline.path else "in memory"
    if not path.exists():
        write_atomically(path, toml_from_recipe(wanted).encode())
    unlike = differences(load_recipe(str(path)), wanted)
    if experiment.rows and experiment.rows[0]["baseline"] != identity:
        unlike.append("another baseline")
    if unlike:
        raise UsageError(
            f"{experiment.out} holds another experiment: {'; '.join(unlike)}",
            hint="Repeat its options (arms, weights and seeds may be added), or use another --out.",
        )
    return identity


def _trained(experiment: Experiment, run: Run, watcher: Watcher) -> bool:
    """Trains the run, or the rest of it; False where it was stopped."""
    out = experiment.out / RUNS / run.name
    recipe = run.recipe(experiment.common, stride=experiment.stride)
    if not (out / STATE).exists():
        return start(
            recipe,
            experiment.dataset,
            out,
            baseline=experiment.baseline,
            machine=experiment.machine,
            watcher=watcher,
        ).finished
    if unlike := differences(load_recipe(str(out / RECIPE)), recipe):
        raise UsageError(f"the run in {out} has another recipe: {'; '.join(unlike)}",
                         hint="Use another --out.")  # fmt: skip
    return resume(out, experiment.dataset, machine=experiment.machine, watcher=watcher).finished


def _row(experiment: Experiment, run: Run, identity: str, watcher: ExperimentWatcher) -> Row:
    """Judges the trained run by its checkpoint alone, so that a kill in between changes nothing."""
    out, data = experiment.out / RUNS / run.name, experiment.common.data
    checkpoint = read_checkpoint(out / MODEL)
    images = selected(experiment.dataset, data.val)
    found = examine(
        checkpoint.network(),
        experiment.dataset,
        images,
        device=str(usable_device(experiment.machine.device)),
        imgsz=experiment.common.evaluation.imgsz,
        threads=max(1, experiment.machine.workers),
        progress=lambda done: watcher.judging(run, done, len(images)),
    )
    stored = checkpoint.meta.provenance
    return {
        "arm": run.arm,
        "ar_weight": run.ar_weight,
        "seed": run.seed,
        "epochs": experiment.common.schedule.epochs,
        **found.summary(experiment.dataset.labels),
        **_times(out / METRICS),
        "train": list(data.train.splits),
        "val": list(data.val.splits),
        "images": len(images),
        "crop": list(experiment.common.augmentation.crop),
        "imgsz": experiment.common.evaluation.imgsz,
        "baseline": identity,
        "device": stored["device"],
        "torch": stored["torch"],
        "artoolkit": __version__,
    }


def _times(path: Path) -> dict[str, float | int]:
    """Seconds of a step (median over the run) and of all steps, waiting for images apart."""
    steps = [row for row in read_json_lines(path, DataError) if row.get("kind") == "iteration"]
    if not steps:
        raise DataError(f"{path} holds no iteration")
    return {
        "iterations": len(steps),
        "step_s": statistics.median(row["step_s"] for row in steps),
        "data_s": statistics.median(row["data_s"] for row in steps),
        "train_s": sum(row["step_s"] + row["data_s"] for row in steps),
    }


def _tidy(experiment: Experiment, run: Run) -> None:
    """A judged run cannot be resumed any more: what that took is most of its bytes."""
    out = experiment.out / RUNS / run.name
    shutil.rmtree((out / STATE).parent, ignore_errors=True)
    if not experiment.keep_models:
        (out / MODEL).unlink(missing_ok=True)
