"""A training run from its first step to its last, and from where it stopped: `start`, `resume`.

A run's folder holds recipe.toml, model.safetensors (the last finished epoch), metrics.jsonl,
TensorBoard events and state/ (to go on). The state is written last and atomically, so whatever
kills a run, it goes on from the last state and, on a CPU, ends with the same bits.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from artoolkit.cores import usable_cores
from artoolkit.data import DataSet
from artoolkit.errors import ArtoolkitError, TrainingError, UsageError
from artoolkit.evaluation.predictor import NetworkPredictor
from artoolkit.evaluation.quality import Judged, judged
from artoolkit.evidence.folders import owned
from artoolkit.evidence.seal import write_atomically
from artoolkit.files import reading
from artoolkit.labels import LabelTable
from artoolkit.metrics import Matrix, summary
from artoolkit.networks import Network
from artoolkit.networks.checkpoint import Checkpoint, write_checkpoint
from artoolkit.preprocess import fill_color
from artoolkit.training.assembly import (
    build_network,
    check_baseline,
    checkpoint_of,
    load_baseline,
    load_encoder,
    provenance_of,
    settled,
    usable_device,
)
from artoolkit.training.class_weights import class_weights
from artoolkit.training.decoded import Decoded, default_folder
from artoolkit.training.engine import Learner, Row, train_one_epoch
from artoolkit.training.history import History, NoHistory
from artoolkit.training.loader import (
    Batch,
    EpochBatches,
    EvaluationImages,
    TrainingImages,
    fetched,
    selected,
    step_seed,
    training_loader,
    worker_deaths,
)
from artoolkit.training.processes import ALONE, PeerStopped, Processes, launched, together
from artoolkit.training.recipe import Recipe, toml_from_recipe
from artoolkit.training.state import RESTART, STATE, Progress, read_state, save_state
from artoolkit.training.survey import survey
from artoolkit.training.teacher import Teacher, check_same, identities
from artoolkit.training.terms import build_objective
from artoolkit.training.transforms import Transform
from artoolkit.words import TAUGHT

log = logging.getLogger(__name__)

MODEL = "model.safetensors"
# In the provenance: mIoU of the baseline before any step, and the epoch in which a run fell below.
BASELINE_MIOU, FELL = "baseline_mIoU", "fell_in_epoch"
# What a process has to say before a step; all do what the largest says.
READY, STOP, UNREADABLE = range(3)
# Images of each evaluation in TensorBoard; 100 KB each.
PICTURES = 2


class Watcher(Protocol):
    """Watcher of a run; `display.ProgressBar` shows it."""

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
    """State of a run: `finished`, or stopped on request; `metrics` of the last evaluation."""

    out: Path
    finished: bool
    progress: Progress
    metrics: dict[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> Path:
        """The checkpoint of the last finished epoch."""
        return self.out / MODEL


@dataclass(frozen=True)
class Machine:
    """Settings that may differ between two runs of one recipe: the device and the loader.

    `workers` are those of each process.
    """

    device: str = "cpu"
    workers: int = 0
    processes: Processes = ALONE

    @staticmethod
    def of(device: str = "cpu", workers: int | None = None) -> Machine:
        """This machine; by default one process loads images on a CPU, up to 8 beside a GPU.

        Under torchrun, `cuda` is the GPU of each process's own number; `UsageError` for another.
        """
        processes = launched()
        if processes.count > 1 and device.startswith("cuda"):
            if device != "cuda":
                raise UsageError(
                    "under torchrun each process has a GPU of its own",
                    got=f"--device {device}",
                    expected="--device cuda",
                )
            device = f"cuda:{processes.local_rank}"
        default = min(8, max(1, usable_cores() - 1)) if device.startswith("cuda") else 1
        return Machine(device, default if workers is None else workers, processes)


def start(
    recipe: Recipe,
    dataset: DataSet,
    out: Path,
    *,
    baseline: Checkpoint | None = None,
    encoder: Checkpoint | None = None,
    teachers: Sequence[Checkpoint] = (),
    machine: Machine = Machine(),
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
    machine: Machine = Machine(),
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


class Run:
    """A run that is ready to go on; nothing is written before `go_on`."""

    def __init__(
        self,
        recipe: Recipe,
        dataset: DataSet,
        out: Path,
        network: Network,
        device: torch.device,
        machine: Machine,
        provenance: dict[str, Any],
        teachers: Sequence[Checkpoint],
    ) -> None:
        self.processes = processes = machine.processes
        if recipe.data.cache:
            dataset = Decoded(dataset, default_folder())
        training = EvaluationImages(dataset, selected(dataset, recipe.data.train))
        self.validation = selected(dataset, recipe.data.val)
        self.batches = EpochBatches(
            len(training),
            recipe.schedule.batch_size,
            recipe.seed,
            rank=processes.rank,
            world_size=processes.count,
        )
        transform = Transform(recipe.augmentation, fill_color(network.preprocess))
        objective = build_objective(recipe, network, provenance.get("class_weights"))
        if objective.taught != bool(teachers):
            raise UsageError(
                "a teacher and a term that learns from it belong together",
                got="a teacher alone" if teachers else f"no teacher for {' or '.join(TAUGHT)}",
                hint="Give both: --teacher CKPT and --distillation or --affinity-distillation.",
            )
        self.loader = training_loader(
            TrainingImages(training, transform, recipe.seed, tuple(objective.maps.values())),
            self.batches,
            workers=machine.workers,
            pin_memory=device.type == "cuda",
        )
        self.learner = Learner(
            network,
            objective,
            recipe,
            device,
            iterations_per_epoch=len(self.batches),
            processes=processes,
            teacher=Teacher(teachers, recipe) if teachers else None,
        )
        self.recipe, self.dataset, self.out = recipe, dataset, out
        self.workers, self.provenance = machine.workers, provenance
        self.stopped = False

    def history(self, *, keep_bytes: int = 0, iteration: int = 0) -> History:
        """The run's rows; only the first process writes them."""
        if not self.processes.first:
            return NoHistory()
        return History(self.out, keep_bytes=keep_bytes, iteration=iteration)

    def save(self, history: History, *, epoch: int, step: int) -> Progress:
        progress = Progress(epoch, step, history.saved_bytes())
        if self.processes.first:
            save_state(self.out, self.learner, progress, self.dataset.labels, self.provenance)
        return progress

    def go_on(self, progress: Progress, watcher: Watcher) -> Outcome:
        """All epochs from `progress` on, until the end or until a stop is asked for."""
        watcher.started(self.recipe, self.learner.iterations_per_epoch, progress)
        done = progress.epoch * self.learner.iterations_per_epoch + progress.step
        metrics: Row = {}
        history = self.history(keep_bytes=progress.metrics_bytes, iteration=done)
        with closing(history), worker_deaths(), stop_requests() as stop:
            if done == 0 and "baseline" in self.provenance and BASELINE_MIOU not in self.provenance:
                progress = self._begin(history, watcher)
            while progress.epoch < self.recipe.schedule.epochs:
                progress = self._steps(progress, history, watcher, stop)
                if self.stopped:
                    return Outcome(self.out, False, progress, metrics)
                metrics = self._finish_epoch(progress.epoch, history)
                fallen = self._fallen(metrics)
                progress = self.save(history, epoch=progress.epoch + 1, step=0)
                watcher.evaluated(metrics)
                if fallen is not None:
                    raise fallen
        return Outcome(self.out, True, progress, metrics)

    def _begin(self, history: History, watcher: Watcher) -> Progress:
        """Evaluate the baseline before any step, as epoch 0: what a run has to hold."""
        row: Row = {"epoch": 0, "iteration": 0}
        row |= self._measured(row, history)
        self.provenance = {**self.provenance, BASELINE_MIOU: row["mIoU"]}
        history.write("epoch", row)
        progress = self.save(history, epoch=0, step=0)
        watcher.evaluated(row)
        return progress

    def _fallen(self, row: Row) -> TrainingError | None:
        """The error of a run far below its baseline; who resumes it has seen it once."""
        before, now = self.provenance.get(BASELINE_MIOU), row.get("mIoU")
        most = self.recipe.evaluation.max_drop
        if before is None or now is None or before - now <= most or FELL in self.provenance:
            return None
        self.provenance = {**self.provenance, FELL: row["epoch"]}
        return TrainingError(
            f"mIoU fell from the baseline's {before:.2f} to {now:.2f} % in epoch {row['epoch']}",
            expected=f"at most {most:g} points less (evaluation.max_drop)",
            hint="The learning rate is too high for this network (try --find-lr), or its input "
            "convention is another (artoolkit weights probe). --resume goes on all the same.",
        )

    def _measured(self, row: Row, history: History) -> Row:
        """Metrics over the validation set, shown in `history` with the place in `row`."""
        started = time.perf_counter()
        pictures: dict[str, NDArray[np.uint8]] = {}
        counts, names = self._evaluation(pictures), self.dataset.labels.names
        found: Row = summary(counts, names)
        found["evaluation_s"] = time.perf_counter() - started
        history.show(self.recipe.model_dump(mode="json"), names, counts, pictures, row | found)
        return found

    def _steps(
        self, progress: Progress, history: History, watcher: Watcher, stop: threading.Event
    ) -> Progress:
        """The rest of an epoch's steps; saved where a stop is asked for or an image fails."""
        epoch, step = progress.epoch, progress.step
        self.batches.epoch, self.batches.first_step = epoch, step
        try:
            for row in train_one_epoch(
                self.learner, self._agreed(stop), epoch=epoch, first_step=step
            ):
                history.write("iteration", row)
                watcher.stepped(row)
                step = row["step"]
        except _Unreadable as failure:
            self.save(history, epoch=epoch, step=step)
            raise failure.error from failure.error.__cause__
        if self.stopped:
            return self.save(history, epoch=epoch, step=step)
        return Progress(epoch, step, progress.metrics_bytes)

    def _agreed(self, stop: threading.Event) -> Iterator[Batch]:
        """The batches of this process, while all have one and none is asked to stop."""
        batches = fetched(self.loader)
        while True:
            error: ArtoolkitError | None = None
            batch: Batch | None = None
            try:
                batch = None if stop.is_set() else next(batches, None)
            except ArtoolkitError as failure:
                error = failure
            word = self.processes.most(UNREADABLE if error else STOP if stop.is_set() else READY)
            if word == UNREADABLE:
                raise _Unreadable(error or PeerStopped("another process could not read an image"))
            self.stopped = word == STOP
            if self.stopped or batch is None:
                return
            yield batch

    def _finish_epoch(self, epoch: int, history: History) -> Row:
        """Evaluates where it is due, and writes the row and the checkpoint of an epoch."""
        done = epoch + 1
        self.learner.finish_epoch(epoch)
        row: Row = {"epoch": done, "iteration": done * self.learner.iterations_per_epoch}
        if done % self.recipe.evaluation.every == 0 or done == self.recipe.schedule.epochs:
            row |= self._measured(row, history)
        history.write("epoch", row)
        if not self.processes.first:
            return row
        provenance = self.provenance | {k: row[k] for k in ("epoch", "mIoU") if k in row}
        write_checkpoint(
            self.out / MODEL,
            checkpoint_of(self.learner.result, self.recipe, self.dataset.labels, provenance),
        )
        return row

    def _evaluation(self, pictures: dict[str, NDArray[np.uint8]]) -> Matrix:
        """C x (C + 1) counts over the validation set; each process takes its share of the images.

        The first images are put into `pictures` with their labels, to look at.

        In float32 at the images' own size or `evaluation.imgsz`, whatever is trained in.
        """
        network, processes, table = self.learner.result, self.processes, self.dataset.labels
        # Statistics of batch normalisation are a process's own on a CPU.
        processes.equalise(network.buffers())
        counts = torch.zeros((table.num_classes, table.num_classes + 1), dtype=torch.int64)
        with NetworkPredictor(
            network,
            table,
            device=str(self.learner.device),
            input_hw=self.recipe.evaluation.imgsz,
        ) as predictor:
            mine = processes.share(self.validation)
            for one in judged(predictor, self.dataset, mine, threads=max(1, self.workers)):
                counts += torch.from_numpy(one.counts)
                if len(pictures) < PICTURES:
                    pictures[f"labels and prediction/{one.name}"] = _side_by_side(one, table)
        return processes.sum(counts).numpy()


def _side_by_side(one: Judged, table: LabelTable) -> NDArray[np.uint8]:
    """uint8 h x 2w x 3: labels and prediction in the classes' colors, at most 512 pixels wide."""
    colors = np.zeros((256, 3), np.uint8)
    colors[: table.num_classes] = table.colors
    step = -(-one.label.shape[1] // 512)
    both = np.concatenate([one.label[::step, ::step], one.predicted[::step, ::step]], axis=1)
    picture: NDArray[np.uint8] = colors[both]
    return picture


class _Unreadable(Exception):
    """An image cannot be used; `error` says which."""

    def __init__(self, error: ArtoolkitError) -> None:
        super().__init__(str(error))
        self.error = error


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """Ctrl-C, SIGTERM, and SIGHUP of a terminal that closes, ask for a stop after the current step.

    A second one stops at once.
    """
    stop = threading.Event()

    def ask(_signal: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        # Only the main thread may install handlers; elsewhere the caller keeps its own.
        yield stop
        return
    numbers = [signal.SIGINT, signal.SIGTERM]
    # Under nohup a terminal that closes is ignored.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, ask) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
