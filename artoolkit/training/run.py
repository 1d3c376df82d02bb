"""A training run from its first step to its last, and from where it stopped: `train`, `resume`.

A run's folder holds recipe.toml, model.safetensors (the last finished epoch), metrics.jsonl,
TensorBoard events and state/ (to go on). The state is written last and atomically, so whatever
kills a run, it goes on from the last state and, on a CPU, ends with the same bits.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import torch

from artoolkit.data import DataSet
from artoolkit.errors import DataError, TrainingError, UsageError
from artoolkit.networks import Network
from artoolkit.networks.checkpoint import Checkpoint, write_checkpoint
from artoolkit.seal import write_atomically
from artoolkit.training.assembly import (
    build_network,
    build_objective,
    check_baseline,
    checkpoint_of,
    load_baseline,
    load_encoder,
    provenance_of,
    settled,
    usable_device,
)
from artoolkit.training.engine import Learner, Row, evaluate, train_one_epoch
from artoolkit.training.history import History
from artoolkit.training.loader import (
    EpochBatches,
    EvaluationImages,
    TrainingImages,
    evaluation_loader,
    fetched,
    selected,
    step_seed,
    training_loader,
    worker_deaths,
)
from artoolkit.training.recipe import Recipe, toml_from_recipe
from artoolkit.training.state import STATE, Progress, read_state, save_state
from artoolkit.training.transforms import Transform, fill_color

MODEL = "model.safetensors"


class Watcher(Protocol):
    """Is told what happens; `display.ProgressBar` shows it."""

    def started(self, recipe: Recipe, iterations_per_epoch: int, progress: Progress) -> None: ...
    def stepped(self, row: Row) -> None: ...
    def evaluated(self, row: Row) -> None: ...


class Silent:
    """A watcher that shows nothing."""

    def started(self, recipe: Recipe, iterations_per_epoch: int, progress: Progress) -> None: ...
    def stepped(self, row: Row) -> None: ...
    def evaluated(self, row: Row) -> None: ...


@dataclass(frozen=True)
class Outcome:
    """Where a run stands: `finished`, or stopped on request; `metrics` of the last evaluation."""

    out: Path
    finished: bool
    progress: Progress
    metrics: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Machine:
    """What may differ between two runs of one recipe: where it runs, and what loads the images."""

    device: str = "cpu"
    workers: int = 0


def train(
    recipe: Recipe,
    dataset: DataSet,
    out: Path,
    *,
    baseline: Checkpoint | None = None,
    encoder: Checkpoint | None = None,
    machine: Machine = Machine(),
    watcher: Watcher | None = None,
) -> Outcome:
    """Trains from `baseline` (all weights), from `encoder` (its encoder), or from scratch.

    Raises `UsageError` if `out` holds a run already, and otherwise whatever is wrong with recipe,
    checkpoint, data, device, disk or loss; the last saved state is whole in every case.
    """
    if (out / STATE).exists():
        raise UsageError(f"{out} holds a run already", hint="Use --resume, or another --out.")
    device = usable_device(machine.device)
    recipe = settled(recipe, device)
    network = build_network(recipe, dataset.labels, seed=step_seed(recipe.seed, 0))
    sources = {}
    if baseline is not None:
        check_baseline(baseline, recipe, dataset.labels)
        load_baseline(network, baseline)
        sources["baseline"] = baseline
    if encoder is not None:
        load_encoder(network, encoder)
        sources["encoder"] = encoder
    provenance = provenance_of(recipe, dataset, device, sources)
    run = _Run(recipe, dataset, out, network, device, machine.workers, provenance)
    write_atomically(out / "recipe.toml", toml_from_recipe(recipe).encode())
    with closing(History(out)) as history:
        history.write("start", provenance)
        # From here on the run can be resumed, without the baseline's file.
        progress = run.save(history, epoch=0, step=0)
    return run.go_on(progress, watcher or Silent())


def resume(
    out: Path,
    dataset: DataSet,
    *,
    machine: Machine = Machine(),
    watcher: Watcher | None = None,
) -> Outcome:
    """Goes on with the run in `out` from its last state; a finished run is left as it is.

    Raises `TrainingError` where there is nothing to resume, or the data set is another one.
    """
    saved = read_state(out)
    if saved.provenance["dataset"] != dataset.name:
        raise TrainingError(
            f"the run in {out} is on another data set",
            got=dataset.name,
            expected=saved.provenance["dataset"],
        )
    device = usable_device(machine.device)
    network = build_network(saved.recipe, dataset.labels, seed=0)
    network.preprocess = saved.preprocess
    run = _Run(saved.recipe, dataset, out, network, device, machine.workers, saved.provenance)
    saved.restore(run.learner)
    return run.go_on(saved.progress, watcher or Silent())


class _Run:
    """A run that is ready to go on."""

    def __init__(
        self,
        recipe: Recipe,
        dataset: DataSet,
        out: Path,
        network: Network,
        device: torch.device,
        workers: int,
        provenance: dict[str, Any],
    ) -> None:
        training = EvaluationImages(dataset, selected(dataset, recipe.data.train))
        self.validation = EvaluationImages(dataset, selected(dataset, recipe.data.val))
        self.batches = EpochBatches(len(training), recipe.schedule.batch_size, recipe.seed)
        transform = Transform(recipe.augmentation, fill_color(network.preprocess))
        self.loader = training_loader(
            TrainingImages(training, transform, recipe.seed),
            self.batches,
            workers=workers,
            pin_memory=device.type == "cuda",
        )
        self.learner = Learner(
            network,
            build_objective(recipe, network),
            recipe,
            device,
            iterations_per_epoch=len(self.batches),
        )
        self.recipe, self.dataset, self.out = recipe, dataset, out
        self.workers, self.provenance = workers, provenance

    def save(self, history: History, *, epoch: int, step: int) -> Progress:
        progress = Progress(epoch, step, history.saved_bytes())
        save_state(self.out, self.learner, progress, self.provenance)
        return progress

    def go_on(self, progress: Progress, watcher: Watcher) -> Outcome:
        """All epochs from `progress` on, until the end or until a stop is asked for."""
        watcher.started(self.recipe, self.learner.iterations_per_epoch, progress)
        done = progress.epoch * self.learner.iterations_per_epoch + progress.step
        metrics: Row = {}
        history = History(self.out, keep_bytes=progress.metrics_bytes, iteration=done)
        with closing(history), worker_deaths(), stop_requests() as stop:
            while progress.epoch < self.recipe.schedule.epochs:
                progress = self._steps(progress, history, watcher, stop)
                if stop.is_set():
                    return Outcome(self.out, False, progress, metrics)
                metrics = self._finish_epoch(progress.epoch, history)
                progress = self.save(history, epoch=progress.epoch + 1, step=0)
                watcher.evaluated(metrics)
        return Outcome(self.out, True, progress, metrics)

    def _steps(
        self, progress: Progress, history: History, watcher: Watcher, stop: threading.Event
    ) -> Progress:
        """The rest of an epoch's steps; saved where a stop is asked for or an image fails."""
        epoch, step = progress.epoch, progress.step
        self.batches.epoch, self.batches.first_step = epoch, step
        try:
            for row in train_one_epoch(
                self.learner, fetched(self.loader), epoch=epoch, first_step=step
            ):
                history.write("iteration", row)
                watcher.stepped(row)
                step = row["step"]
                if stop.is_set():
                    return self.save(history, epoch=epoch, step=step)
        except DataError:
            self.save(history, epoch=epoch, step=step)
            raise
        return Progress(epoch, step, progress.metrics_bytes)

    def _finish_epoch(self, epoch: int, history: History) -> Row:
        """Evaluates where it is due, and writes the row and the checkpoint of an epoch."""
        done = epoch + 1
        row: Row = {"epoch": done, "iteration": done * self.learner.iterations_per_epoch}
        if done % self.recipe.evaluation.every == 0 or done == self.recipe.schedule.epochs:
            started = time.perf_counter()
            evaluation = evaluate(
                self.learner.result,
                fetched(evaluation_loader(self.validation, workers=self.workers)),
                [sample.name for sample in self.validation.samples],
                device=self.learner.device,
                imgsz=self.recipe.evaluation.imgsz,
            )
            row |= evaluation.summary(self.dataset.labels)
            row["evaluation_s"] = time.perf_counter() - started
        history.write("epoch", row)
        provenance = self.provenance | {k: row[k] for k in ("epoch", "mIoU") if k in row}
        write_checkpoint(
            self.out / MODEL,
            checkpoint_of(self.learner.result, self.recipe, self.dataset.labels, provenance),
        )
        return row


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """Ctrl-C and SIGTERM ask for a stop after the current step; a second one stops at once."""
    stop = threading.Event()

    def ask(_signal: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        # Only the main thread may install handlers; elsewhere the caller keeps its own.
        yield stop
        return
    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
