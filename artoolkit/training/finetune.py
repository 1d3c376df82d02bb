"""`finetune`: a baseline trained on, with affinity regression or, as its control, without.

The recipe is the baseline's own at a lower rate. What is not said otherwise stays as the baseline
was trained, so that a run with the AR weight 0 (the control) sees the same data in the same order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from artoolkit.data import DataSet, dataset_of
from artoolkit.errors import UsageError
from artoolkit.evidence.callback import Callback
from artoolkit.labels import LabelTable
from artoolkit.networks.checkpoint import Checkpoint
from artoolkit.networks.loading import load
from artoolkit.spec import RequestedNetwork
from artoolkit.training import run
from artoolkit.training.callbacks import Told
from artoolkit.training.processes import Machine
from artoolkit.training.recipe import Recipe, load_recipe, recipe_from_values, recipe_names
from artoolkit.training.teacher import load_teacher
from artoolkit.training.train import go_on, name_of, rates
from artoolkit.training.watcher import Outcome, Watcher
from artoolkit.words import FINETUNE_GRID, FINETUNE_WEIGHT, TAUGHT, Grid

# 40 epochs at 0.05 become 8 at 0.01: what the trials on CamVid were fine-tuned with.
SHARE = 5


def finetune(
    baseline: Checkpoint | Path | str | None = None,
    *,
    out: Path | str,
    dataset: DataSet | str | None = None,
    data_root: Path | str | None = None,
    classes: Path | str | None = None,
    ar_weight: float | None = None,
    ar_grid: Grid | None = None,
    ar_stride: int | None = None,
    control: bool = False,
    teachers: Sequence[Checkpoint | Path | str] = (),
    recipe: Recipe | Path | str | None = None,
    network: RequestedNetwork | str | None = None,
    changes: Mapping[str, Any] | None = None,
    assignments: Sequence[str] = (),
    device: str = "cpu",
    workers: int | None = None,
    resume: bool = False,
    changed_data: bool = False,
    find_lr: bool = False,
    watcher: Watcher | None = None,
    callbacks: Sequence[Callback] = (),
) -> Outcome:
    """Fine-tune `baseline` with the affinity-regression loss, and save `out`/model.safetensors.

    baseline: a checkpoint, or weights of others where `network` names what they are of; not needed
    with `resume`. ar_weight, ar_grid, ar_stride: the loss (`words.FINETUNE_WEIGHT` at
    `words.FINETUNE_GRID` where neither these nor the recipe say otherwise). teachers: networks with
    the same classes to learn from, averaged: checkpoints, or "NETWORK=FILE" for weights of others;
    the terms `distillation` (at weight 1 where `changes` name none of them) and
    `affinity_distillation` use them. control: the same run with the weights of all these 0.
    recipe: taken as it stands, not the baseline's own at a fifth of its epochs and rate. Everything
    else is as in `artoolkit.train`, and so is what is raised; `CheckpointError` where baseline or
    teacher were trained for other classes, or the baseline is another network.

    >>> import artoolkit
    >>> tuned = artoolkit.finetune("runs/base/model.safetensors", out="runs/tuned",
    ...                            data_root="streets", workers=0)
    >>> tuned.finished, tuned.model.as_posix()
    (True, 'runs/tuned/model.safetensors')
    """
    machine, out = Machine.of(device, workers), Path(out)
    watcher = Told(watcher, callbacks if machine.processes.first else ())
    loss = {
        "loss.ar_weight": 0.0 if control else ar_weight,
        "loss.ar_grid": ar_grid,
        "loss.ar_stride": ar_stride,
    }
    given = {path: value for path, value in loss.items() if value is not None}
    changes = {**(changes or {}), **given}
    weights = [f"loss.terms.{name}.weight" for name in TAUGHT]
    if control:
        changes |= {path: 0.0 for path in weights if changes.get(path) is not None}
        teachers = ()
    elif teachers and not resume and not any(changes.get(path) is not None for path in weights):
        changes[weights[0]] = 1.0
    if resume:
        return go_on(
            recipe, out, machine, watcher, changed_data, teachers,
            dataset=dataset, data_root=data_root, classes=classes, network=network,
            changes=changes, assignments=assignments,
        )  # fmt: skip
    if changed_data:
        raise UsageError("--changed-data goes with --resume")
    if baseline is None:
        raise UsageError("no baseline to start from", expected="--baseline CKPT")
    named = None if recipe is None else load_recipe(recipe)

    def labels() -> LabelTable:
        name = dataset or (named.data.dataset if named else None)
        return dataset_of(name, data_root, classes=classes).labels

    start = load(baseline, network=network, labels=labels)
    changes = {**changes, "data.dataset": name_of(dataset)}
    if named is None or named.loss.ar_weight == 0:
        changes = {
            "loss.ar_weight": FINETUNE_WEIGHT, "loss.ar_grid": FINETUNE_GRID, **changes
        }  # fmt: skip
    chosen = finetune_recipe(start, source=recipe, assignments=assignments, changes=changes)
    data = dataset_of(dataset or chosen.data.dataset, data_root, classes=classes)
    loaded = [load_teacher(teacher, data.labels) for teacher in teachers]
    if find_lr:
        return rates(chosen, data, out, baseline=start, teachers=loaded, machine=machine)
    return run.start(
        chosen, data, out, baseline=start, teachers=loaded, machine=machine, watcher=watcher
    )


def finetune_recipe(
    baseline: Checkpoint,
    *,
    source: Recipe | Path | str | None = None,
    assignments: Sequence[str] = (),
    changes: Mapping[str, Any] | None = None,
) -> Recipe:
    """The recipe of a fine-tuning of `baseline`; `source` replaces the one stored in it.

    A fifth of the epochs and of the rate, falling as `poly`, unless `assignments` or `changes`
    (as in `load_recipe`) say otherwise. A recipe given as `source` is taken as it stands; where
    the baseline holds none (imported weights), its network stands in for the recipe's. Raises
    `UsageError` if there is neither.
    """
    if source is not None:
        own = {} if baseline.meta.recipe else _network_of(baseline)
        return load_recipe(source, assignments=assignments, changes=own | dict(changes or {}))
    origin = str(baseline.path or "the baseline")
    if not baseline.meta.recipe:
        raise UsageError(
            f"{origin} holds no recipe",
            hint=f"Give one with --recipe: {', '.join(recipe_names())}, or a path.",
        )
    stored = recipe_from_values(baseline.meta.recipe, f"the recipe in {origin}")
    tuned = {
        "name": f"{stored.name}-finetune",
        "description": f"Fine-tuned from {stored.name}",
        "schedule.epochs": max(1, round(stored.schedule.epochs / SHARE)),
        "schedule.policy": "poly",
        "schedule.milestones": [],
        "schedule.warmup_iterations": 0,
        "optimizer.lr": stored.optimizer.lr / SHARE,
    }
    given = {path: value for path, value in (changes or {}).items() if value is not None}
    return recipe_from_values(
        stored.model_dump(mode="json", exclude_none=True),
        f"the recipe in {origin} for fine-tuning",
        assignments=assignments,
        changes=tuned | given,
    )


def _network_of(baseline: Checkpoint) -> dict[str, Any]:
    """The tables of a recipe that imported weights decide: the network, and its input size."""
    meta = baseline.meta
    network = {"name": meta.network, "layout": meta.layout, "options": meta.options}
    size = None if meta.imgsz is None else list(meta.imgsz)
    return {"network": network, "evaluation.imgsz": size}
