"""A training run from its first step to its last, and from where it stopped: `start`, `resume`.

A run's folder holds recipe.toml, model.safetensors (the last finished epoch), metrics.jsonl,
TensorBoard events and state/ (to go on). The state is written last and atomically, so whatever
kills a run, it goes on from the last state and, on a CPU, ends with the same bits.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import Any

import torch

from artoolkit.data import DataSet
from artoolkit.errors import TrainingError, UsageError
from artoolkit.evidence.folders import owned
from artoolkit.evidence.seal import write_atomically
from artoolkit.files import reading
from artoolkit.networks import Network
from artoolkit.networks.checkpoint import Checkpoint
from artoolkit.training.assembly import (
    build_network,
    check_baseline,
    load_baseline,
    load_encoder,
    provenance_of,
    settled,
    usable_device,
)
from artoolkit.training.class_weights import class_weights
from artoolkit.training.epochs import READY, Run
from artoolkit.training.loader import selected, step_seed
from artoolkit.training.processes import ONE_CPU, Machine, together
from artoolkit.training.recipe import Recipe, toml_from_recipe
from artoolkit.training.state import MODEL, RESTART, STATE, read_state
from artoolkit.training.survey import survey
from artoolkit.training.teacher import check_same, identities
from artoolkit.training.watcher import Outcome, Silent, Watcher

log = logging.getLogger(__name__)


def start(
    recipe: Recipe,
    dataset: DataSet,
    out: Path,
    *,
    baseline: Checkpoint | None = None,
    encoder: Checkpoint | None = None,
    teachers: Sequence[Checkpoint] = (),
    machine: Machine = ONE_CPU,
    watcher: Watcher | None = None,
) -> Outcome:
    """Trains from `baseline` (all weights), from `encoder` (its encoder), or from scratch.

    `teachers` are for the terms that learn from other networks. Raises `UsageError` if `out` holds
    a run already, and otherwise whatever is wrong with recipe, checkpoint, data, device, disk or
    loss; the last saved state is whole in every case.
    """
    if (out / STATE).exists():
        raise UsageError(
            f"{out} holds a run already",
            hint="Use --resume to go on with it, without other options; or another --out.",
        )
    recipe, network, device = prepared(recipe, dataset, baseline, encoder, machine)
    given = {"baseline": baseline, "encoder": encoder}
    sources = {name: checkpoint for name, checkpoint in given.items() if checkpoint is not None}
    provenance = provenance_of(recipe, dataset, device, sources)
    if teachers:
        provenance["teachers"] = identities(teachers)
    provenance |= balance(recipe, dataset)
    with together(machine.processes, device):
        run = Run(recipe, dataset, out, network, device, machine, provenance, teachers)
        # Nobody writes before all have looked into the folder.
        machine.processes.most(READY)
        with _alone(out, machine):
            if machine.processes.first:
                write_atomically(out / "recipe.toml", toml_from_recipe(recipe).encode())
            with closing(run.history()) as history:
                history.write("start", provenance)
                # From here on the run can be resumed, without the baseline's file.
                progress = run.save(history, epoch=0, step=0)
            return run.go_on(progress, watcher or Silent())


def prepared(
    recipe: Recipe,
    dataset: DataSet,
    baseline: Checkpoint | None,
    encoder: Checkpoint | None,
    machine: Machine,
) -> tuple[Recipe, Network, torch.device]:
    """The recipe with its precision, the network with its first weights, and the device."""
    device = usable_device(machine.device)
    recipe = settled(recipe, device)
    survey(recipe, dataset, say=machine.processes.first)
    network = build_network(recipe, dataset.labels, seed=step_seed(recipe.seed, 0))
    if baseline is not None:
        check_baseline(baseline, recipe, dataset.labels)
        load_baseline(network, baseline)
    if encoder is not None:
        load_encoder(network, encoder)
    return recipe, network, device


def balance(recipe: Recipe, dataset: DataSet) -> dict[str, Any]:
    """The class weights of the provenance, where a rule makes them of the labels."""
    rule = recipe.loss.class_weights
    if not isinstance(rule, str):
        return {}
    return {"class_weights": class_weights(rule, dataset, selected(dataset, recipe.data.train))}


def resume(
    out: Path,
    dataset: DataSet,
    *,
    changed_data: bool = False,
    teachers: Sequence[Checkpoint] = (),
    machine: Machine = ONE_CPU,
    watcher: Watcher | None = None,
) -> Outcome:
    """Goes on with the run in `out` from its last state; a finished run is left as it is.

    `teachers` are those that it began with, or it is a `UsageError`.

    `changed_data` goes on with other images or labels than the run began with: its checkpoints then
    state both, and since when. Raises `TrainingError` where there is nothing to resume, where the
    data set or its classes are others, and without `changed_data` where images or labels are.
    """
    saved = read_state(out)
    with reading(out / STATE, TrainingError, hint=RESTART):
        changes = saved.data_changes(dataset)
    if changes:
        if not changed_data:
            raise TrainingError(
                f"the data of the run in {out} were changed since: {'; '.join(changes)}",
                hint="Put them back, start another run, or go on and have it recorded in the "
                "checkpoint: --changed-data.",
            )
        saved = saved.on_changed_data(dataset)
    check_same(teachers, saved.provenance.get("teachers", ()))
    device = usable_device(machine.device)
    network = build_network(saved.recipe, dataset.labels, seed=0)
    network.preprocess = saved.preprocess
    with _alone(out, machine), together(machine.processes, device):
        run = Run(saved.recipe, dataset, out, network, device, machine, saved.provenance, teachers)
        with reading(out / STATE, TrainingError, hint=RESTART):
            saved.restore(run.learner)
        if saved.progress.epoch >= saved.recipe.schedule.epochs:
            log.info(
                "the run in %s is finished: all %d epochs. To train on, start another from it: "
                "artoolkit finetune --baseline %s, or train --init with it",
                out, saved.progress.epoch, out / MODEL,
            )  # fmt: skip
        return run.go_on(saved.progress, watcher or Silent())


def _alone(out: Path, machine: Machine) -> AbstractContextManager[None]:
    """`UsageError` where another run writes to `out`; the first process asks for all."""
    return owned(out) if machine.processes.first else nullcontext()
