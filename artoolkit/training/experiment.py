"""Test of the loss: every arm from one baseline, with one schedule and data order per seed.

An experiment's folder holds recipe.toml (what all arms share), runs.jsonl (one row a finished run)
and runs/ (a run's own folder each). Runs go seed by seed, the control first, so that whatever
stops the experiment leaves pairs. The same call goes on: what has a row is left out, and a run
that was stopped is resumed. Read `experiment` first.
"""

from __future__ import annotations

import json
import logging
import shutil
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from artoolkit import __version__
from artoolkit.data import DataSet, dataset_of
from artoolkit.errors import DataError, UsageError
from artoolkit.evaluation.experiment import ROWS, Row, append_row, differences_by_seed, read_rows
from artoolkit.evaluation.sequential import check_looks, contenders
from artoolkit.evidence.folders import owned
from artoolkit.evidence.seal import file_sha256, write_atomically
from artoolkit.files import read_json_lines
from artoolkit.networks.checkpoint import Checkpoint, read_checkpoint
from artoolkit.networks.loading import load
from artoolkit.training.arms import Run, common_recipe, planned_runs
from artoolkit.training.assembly import check_baseline, usable_device
from artoolkit.training.cluster import cluster_rows
from artoolkit.training.examination import examine
from artoolkit.training.finetune import finetune_recipe
from artoolkit.training.history import METRICS
from artoolkit.training.loader import selected
from artoolkit.training.processes import Machine
from artoolkit.training.recipe import (
    Recipe,
    Selection,
    differences,
    load_recipe,
    toml_from_recipe,
)
from artoolkit.training.run import resume, start
from artoolkit.training.state import MODEL, STATE
from artoolkit.training.teacher import is_taught, load_teacher
from artoolkit.training.train import name_of
from artoolkit.training.watcher import Silent, Watcher
from artoolkit.words import ARMS, CONTROL

log = logging.getLogger(__name__)

RECIPE, RUNS = "recipe.toml", "runs"


class ExperimentWatcher(Watcher, Protocol):
    """Watcher of runs too; `display.ExperimentBar` shows them."""

    def planned(self, runs: Sequence[Run], finished: int, epochs: int) -> None: ...
    def judging(self, run: Run, done: int, images: int) -> None: ...
    def finished(self, run: Run, row: Row) -> None: ...


class Unwatched(Silent):
    """A watcher of runs that shows nothing."""

    def planned(self, runs: Sequence[Run], finished: int, epochs: int) -> None: ...
    def judging(self, run: Run, done: int, images: int) -> None: ...
    def finished(self, run: Run, row: Row) -> None: ...


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
    """Settings that all runs share.

    teachers: for the arms that learn from some. keep_models: whether judged runs keep weights.
    """

    common: Recipe
    baseline: Checkpoint
    dataset: DataSet
    out: Path
    machine: Machine = field(default_factory=Machine)
    stride: int | None = None
    teachers: Sequence[Checkpoint] = ()
    keep_models: bool = True

    @property
    def rows(self) -> list[Row]:
        """The rows of the finished runs."""
        return read_rows(self.out / ROWS)

    @property
    def identity(self) -> str:
        """The baseline's sha256."""
        return file_sha256(self.baseline.path) if self.baseline.path else "in memory"

    def recipe(self, run: Run) -> Recipe:
        """The recipe of a run; `UsageError` where it needs a teacher and there is none."""
        recipe = run.recipe(self.common, stride=self.stride)
        if is_taught(recipe) and not self.teachers:
            raise UsageError(f"the arm {run.arm} learns from a teacher", expected="--teacher CKPT")
        return recipe


def experiment(
    *,
    watcher: ExperimentWatcher,
    looks: Sequence[int] = (),
    shard: tuple[int, int] = (1, 1),
    cluster: str | None = None,
    **options: Any,
) -> bool:
    """Fine-tune a baseline in every arm, weight and seed that its folder does not hold yet.

    looks: numbers of seeds after which arms that cannot be the best are dropped, the last of them
    all seeds; shard: do every n-th run from the i-th on, as (i, n), beside other processes that
    write to the same folder; cluster: address of a Dask scheduler whose workers do the runs, and
    see the same paths; options: those of `prepared`. Returns False where a stop was asked for, with
    everything saved. Raises what `run_experiment` does.
    """
    shared, runs = prepared(**options)
    check_looks(looks, len({run.seed for run in runs}))
    if not 1 <= shard[0] <= shard[1]:
        raise UsageError("--shard is I/N with I from 1 to N", got=f"{shard[0]}/{shard[1]}")
    do = partial(cluster_rows, cluster, options) if cluster else None
    return run_experiment(shared, runs, watcher, looks=looks, shard=shard, elsewhere=do)


def prepared(
    baseline: Checkpoint | Path | str,
    *,
    out: Path | str,
    dataset: DataSet | str | None = None,
    data_root: Path | str | None = None,
    classes: Path | str | None = None,
    train_splits: Sequence[str] | None = None,
    val_splits: Sequence[str] | None = None,
    arms: Sequence[str] = ARMS,
    weights: Sequence[float] = (0.1, 5.0, 20.0),
    named: Sequence[str] = (),
    stride: int | None = None,
    teachers: Sequence[Checkpoint | Path | str] = (),
    seeds: Sequence[int] = range(1, 6),
    epochs: int | None = None,
    recipe: Recipe | Path | str | None = None,
    assignments: Sequence[str] = (),
    keep_models: bool = True,
    device: str = "cpu",
    workers: int | None = None,
) -> tuple[Experiment, tuple[Run, ...]]:
    """What the runs share, and the runs, seed by seed.

    train_splits, val_splits: by default the baseline's; named: arms of one's own, see
    `arms.named_arm`; stride: of the grid `all`; teachers: as in `finetune`, for the arms that learn
    from one; epochs and recipe as in `finetune_recipe`; keep_models: whether a judged run keeps its
    weights. `UsageError` under torchrun.
    """
    machine = Machine.of(device, workers)
    if machine.processes.count > 1:
        raise UsageError(
            "an experiment runs in one process",
            got=f"{machine.processes.count} from torchrun",
            hint="Start one experiment a GPU instead, each with its own --shard.",
        )
    runs = planned_runs(arms, weights, seeds, named)
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
        teachers=[load_teacher(teacher, data.labels) for teacher in teachers],
    )  # fmt: skip
    return shared, runs


def run_experiment(
    experiment: Experiment,
    runs: Sequence[Run],
    watcher: ExperimentWatcher,
    *,
    looks: Sequence[int] = (),
    shard: tuple[int, int] = (1, 1),
    elsewhere: Callable[[Sequence[Run]], Iterator[tuple[Run, Row]]] | None = None,
) -> bool:
    """Do the rest of `runs`; False where a stop was asked for, with everything saved.

    looks and shard as in `experiment`; `elsewhere` does runs on other machines and yields their
    rows as they come. Raises `UsageError` where the folder holds another experiment or is in use,
    and whatever stops a run; the rows of finished runs stay, and the same call goes on.
    """
    check_baseline(experiment.baseline, experiment.common, experiment.dataset.labels)
    check_unseen(experiment.baseline, experiment.common, experiment.dataset)
    for run in runs:
        experiment.recipe(run)
    # Shards share a folder: each run has a lock of its own, and so has the file of the rows.
    with owned(experiment.out) if shard[1] == 1 else nullcontext():
        identity = _claim(experiment, runs)
        for look in looks or (len({run.seed for run in runs}),):
            wanted = _wanted(experiment, runs, looks, look)
            mine = wanted[shard[0] - 1 :: shard[1]]
            left = _left(experiment, mine)
            watcher.planned(left, len(mine) - len(left), experiment.common.schedule.epochs)
            done = (
                elsewhere(left)
                if elsewhere
                else ((run, do_run(experiment, run, identity, watcher)) for run in left)
            )
            for run, row in done:
                if row is None:
                    return False
                append_row(experiment.out / ROWS, {**row, **({"looks": [*looks]} if looks else {})})
                watcher.finished(run, row)
                _tidy(experiment, run)
            if missing := len(_left(experiment, wanted)):
                if look != (looks or (look,))[-1]:
                    log.warning(
                        "%d runs of other shards are not finished: start again after them, for "
                        "more seeds", missing,
                    )  # fmt: skip
                return True
    return True


def _left(experiment: Experiment, runs: Sequence[Run]) -> list[Run]:
    done = {(row["arm"], row["ar_weight"], row["seed"]) for row in experiment.rows}
    return [run for run in runs if run.key not in done]


def _wanted(
    experiment: Experiment, runs: Sequence[Run], looks: Sequence[int], look: int
) -> list[Run]:
    """The runs up to a look, of the arms that the looks before have left."""
    seeds = list(dict.fromkeys(run.seed for run in runs))
    rows = experiment.rows
    kept = {run.key[:2] for run in runs if run.arm != CONTROL}
    for before in looks[: list(looks).index(look)] if look in looks else ():
        found = {arm: differences_by_seed(rows, arm) for arm in kept}
        kept = contenders(found, seeds[:before])
    chosen = [run for run in runs if run.seed in seeds[:look]]
    return [run for run in chosen if run.arm == CONTROL or run.key[:2] in kept]


def do_run(
    experiment: Experiment, run: Run, identity: str, watcher: ExperimentWatcher
) -> Row | None:
    """The row of a run, trained or trained on and judged; None where it was stopped."""
    if not _trained(experiment, run, watcher):
        return None
    return _row(experiment, run, identity, watcher)


def _claim(experiment: Experiment, runs: Sequence[Run]) -> str:
    """The baseline's sha256, after making sure that the folder is this experiment's."""
    path, wanted = experiment.out / RECIPE, experiment.common.model_copy(update={"seed": 0})
    identity = experiment.identity
    if not path.exists():
        write_atomically(path, toml_from_recipe(wanted).encode())
    unlike = differences(load_recipe(str(path)), wanted)
    if experiment.rows and experiment.rows[0]["baseline"] != identity:
        unlike.append("another baseline")
    meant = {run.arm: run.settings for run in runs}
    for row in experiment.rows:
        if meant.get(row["arm"], row.get("settings", "")) != row.get("settings", ""):
            unlike.append(f"the arm {row['arm']} is {row.get('settings') or 'built in'}")
            break
    if unlike:
        raise UsageError(
            f"{experiment.out} holds another experiment: {'; '.join(unlike)}",
            hint="Repeat its options (arms, weights and seeds may be added), or use another --out.",
        )
    return identity


def _trained(experiment: Experiment, run: Run, watcher: Watcher) -> bool:
    """Trains the run, or the rest of it; False where it was stopped."""
    out = experiment.out / RUNS / run.name
    recipe = experiment.recipe(run)
    teachers = experiment.teachers if is_taught(recipe) else ()
    if not (out / STATE).exists():
        return start(
            recipe,
            experiment.dataset,
            out,
            baseline=experiment.baseline,
            teachers=teachers,
            machine=experiment.machine,
            watcher=watcher,
        ).finished
    if unlike := differences(load_recipe(str(out / RECIPE)), recipe):
        raise UsageError(f"the run in {out} has another recipe: {'; '.join(unlike)}",
                         hint="Use another --out.")  # fmt: skip
    return resume(
        out, experiment.dataset, teachers=teachers, machine=experiment.machine, watcher=watcher
    ).finished


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
        **({"settings": run.settings} if run.settings else {}),
        "epochs": experiment.common.schedule.epochs,
        **found.summary(experiment.dataset.labels),
        **_times(out / METRICS),
        "train": list(data.train.splits),
        "val": list(data.val.splits),
        "images": len(images),
        "crop": list(experiment.common.augmentation.crop),
        "imgsz": experiment.common.evaluation.imgsz,
        "baseline": identity,
        **({"teachers": stored["teachers"]} if "teachers" in stored else {}),
        "device": stored["device"],
        "torch": stored["torch"],
        "artoolkit": __version__,
    }


def _times(path: Path) -> dict[str, float | int]:
    """Seconds of a step (median over the run), of which the teacher's, and of all steps.

    Waiting for images apart.
    """
    steps = [row for row in read_json_lines(path, DataError) if row.get("kind") == "iteration"]
    if not steps:
        raise DataError(f"{path} holds no iteration")
    taught = [row["teacher_s"] for row in steps if "teacher_s" in row]
    return {
        **({"teacher_s": statistics.median(taught)} if taught else {}),
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
