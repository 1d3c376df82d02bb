"""`train`: a recipe, by name or file, to a checkpoint; and what `finetune` shares with it.

Names become objects here: the recipe with its changes, the data set, the weights that the encoder
starts from. What happens then is in `run.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from artoolkit.data import DataSet, dataset_of
from artoolkit.errors import UsageError
from artoolkit.evidence.callback import Callback
from artoolkit.networks.checkpoint import Checkpoint, is_checkpoint, read_checkpoint
from artoolkit.networks.factory import trust
from artoolkit.networks.importing import encoder_prefixes, trunk_from_published
from artoolkit.networks.loading import requested
from artoolkit.networks.sources import weights_file
from artoolkit.spec import RequestedNetwork
from artoolkit.training import run
from artoolkit.training.assembly import build_network
from artoolkit.training.callbacks import Told
from artoolkit.training.processes import Machine
from artoolkit.training.rate_range import find_rate
from artoolkit.training.recipe import Recipe, differences, load_recipe, recipe_names
from artoolkit.training.state import Progress, require_state
from artoolkit.training.teacher import load_teacher
from artoolkit.training.watcher import Outcome, Watcher

log = logging.getLogger(__name__)


def train(
    recipe: Recipe | Path | str | None = None,
    *,
    out: Path | str,
    dataset: DataSet | str | None = None,
    data_root: Path | str | None = None,
    classes: Path | str | None = None,
    init: Path | str | None = None,
    network: RequestedNetwork | str | None = None,
    teachers: Sequence[Checkpoint | Path | str] = (),
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
    """Train a network from a recipe and save it in `out`/model.safetensors.

    recipe: a name (`recipe_names`), a TOML file or a `Recipe`; not needed with `resume`.
    dataset, data_root, classes: as in `artoolkit.data.open_dataset`; by default the recipe's.
    init: the encoder starts from this checkpoint, or from these weights of others.
    network: another network than the recipe's, or other options of it.
    teachers: networks to learn from, as in `artoolkit.finetune`.
    changes: recipe paths and values, as {"schedule.epochs": 2}; assignments: the same as text.
    device: as `torch.device` takes it; workers: processes that load images (None: by the cores).
    resume: go on with the run in `out`, which nothing here may contradict; with changed_data also
    where images or labels are others than those that it began with, which is recorded.
    callbacks: told of the start and of every epoch (`artoolkit.evidence.callback`).
    find_lr: no run, but a range test of the learning rate, which writes nothing (`rates`).

    Ctrl-C finishes the step and saves. Raises `UsageError` where `out` holds a run already, and
    otherwise whatever is wrong with recipe, weights, data, device, disk or loss.

    >>> import artoolkit
    >>> base = artoolkit.train("tiny.toml", dataset="cityscapes", data_root="streets",
    ...                        out="runs/new", changes={"schedule.epochs": 1}, workers=0)
    >>> base.finished, base.model.as_posix(), 0 <= base.metrics["mIoU"] <= 100
    (True, 'runs/new/model.safetensors', True)
    """
    machine, out = Machine.of(device, workers), Path(out)
    watcher = Told(watcher, callbacks if machine.processes.first else ())
    places: dict[str, Any] = {"dataset": dataset, "data_root": data_root, "classes": classes}
    wanted: dict[str, Any] = {"network": network, "changes": changes, "assignments": assignments}
    if resume:
        return go_on(recipe, out, machine, watcher, changed_data, teachers, **places, **wanted)
    if changed_data:
        raise UsageError("--changed-data goes with --resume")
    if recipe is None:
        raise UsageError("no recipe", expected=f"--recipe {'|'.join(recipe_names())} or a path")
    chosen = requested_recipe(recipe, dataset, **wanted)
    data = dataset_of(dataset or chosen.data.dataset, data_root, classes=classes)
    take = requested(network).take
    encoder = None if init is None else _encoder(Path(init), chosen, data, take)
    loaded = [load_teacher(teacher, data.labels) for teacher in teachers]
    if find_lr:
        return rates(chosen, data, out, encoder=encoder, teachers=loaded, machine=machine)
    return run.start(
        chosen, data, out, encoder=encoder, teachers=loaded, machine=machine, watcher=watcher
    )


def rates(recipe: Recipe, dataset: DataSet, out: Path, **given: Any) -> Outcome:
    """The range test as an `Outcome` without a run: rates, losses and suggested_lr in `metrics`."""
    found = find_rate(recipe, dataset, **given)
    metrics = {"rates": found.rates, "losses": found.losses, "suggested_lr": found.suggested}
    return Outcome(out, True, Progress(0, 0, 0), metrics)


def requested_recipe(
    source: Recipe | Path | str,
    dataset: DataSet | str | None = None,
    *,
    network: RequestedNetwork | str | None = None,
    changes: Mapping[str, Any] | None = None,
    assignments: Sequence[str] = (),
) -> Recipe:
    """The recipe `source` with everything that was asked for put over it.

    Another network replaces the recipe's table; options of the same one change single values.
    """
    asked = requested(network)
    changes = {**(changes or {}), "data.dataset": name_of(dataset)}
    plain = load_recipe(source, assignments=assignments, changes=changes)
    if any(text.startswith("network.name=") for text in assignments):
        trust(plain.network.name)  # typed by the user, as with `network`
    if asked.name not in (None, plain.network.name):
        table = {"name": asked.name, "layout": asked.layout, "options": asked.options}
        changes["network"] = table
    else:
        changes["network.layout"] = asked.layout
        changes |= {f"network.options.{key}": value for key, value in asked.options.items()}
    return load_recipe(source, assignments=assignments, changes=changes)


def name_of(dataset: DataSet | str | None) -> str | None:
    """The name that a recipe keeps of a data set."""
    return dataset if dataset is None or isinstance(dataset, str) else dataset.name


def go_on(
    recipe: Recipe | Path | str | None,
    out: Path,
    machine: Machine,
    watcher: Watcher | None,
    changed_data: bool = False,
    teachers: Sequence[Checkpoint | Path | str] = (),
    *,
    dataset: DataSet | str | None,
    data_root: Path | str | None,
    classes: Path | str | None,
    **wanted: Any,
) -> Outcome:
    """Go on with the run in `out`, or say in a `UsageError` what asks for another one."""
    require_state(out)
    stored = load_recipe(out / "recipe.toml")
    dataset = dataset or stored.data.dataset
    wanted_recipe = requested_recipe(recipe or out / "recipe.toml", dataset, **wanted)
    if unlike := differences(stored, wanted_recipe):
        raise UsageError(
            f"the run in {out} has another recipe: {'; '.join(unlike)}",
            hint="Leave these options out, or start a new run in another --out.",
        )
    data = dataset_of(dataset, data_root, classes=classes)
    loaded = [load_teacher(teacher, data.labels) for teacher in teachers]
    return run.resume(
        out, data, changed_data=changed_data, teachers=loaded, machine=machine, watcher=watcher
    )


def _encoder(path: Path, recipe: Recipe, data: DataSet, take: str | None) -> Checkpoint:
    """The weights that the encoder starts from; logs which they are, and what does not use them."""
    path = weights_file(path)
    if is_checkpoint(path):
        return read_checkpoint(path)
    network = build_network(recipe, data.labels, seed=recipe.seed)
    trunk = trunk_from_published(path, network, data.labels, take=take)
    prefixes = encoder_prefixes(network)
    fresh = {key.split(".")[0] for key in network.state_dict() if not key.startswith(prefixes)}
    log.info(
        "%s (%s): %d weights of the encoder loaded; not used: %s; from seed %d: %s",
        path, trunk.layout, len(trunk.checkpoint.state), _some(trunk.left_out),
        recipe.seed, _some(sorted(fresh)),
    )  # fmt: skip
    return trunk.checkpoint


def _some(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more if names else "nothing"
