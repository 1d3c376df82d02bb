"""The epochs of a run: steps, evaluations, saved states, until the end or a request to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from artoolkit.data import DataSet
from artoolkit.errors import ArtoolkitError, TrainingError, UsageError
from artoolkit.evaluation.predictor import NetworkPredictor
from artoolkit.evaluation.quality import Judged, judged
from artoolkit.labels import LabelTable
from artoolkit.metrics import Matrix, summary
from artoolkit.networks import Network
from artoolkit.networks.checkpoint import Checkpoint, write_checkpoint
from artoolkit.preprocess import fill_color
from artoolkit.training.assembly import checkpoint_of
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
    training_loader,
    worker_deaths,
)
from artoolkit.training.processes import Machine, PeerStopped
from artoolkit.training.recipe import Recipe
from artoolkit.training.state import MODEL, Progress, save_state
from artoolkit.training.teacher import Teacher
from artoolkit.training.terms import build_objective
from artoolkit.training.transforms import Transform
from artoolkit.training.watcher import Outcome, Watcher, stop_requests
from artoolkit.words import TAUGHT

# In the provenance: mIoU of the baseline before any step, and the epoch in which a run fell below.
BASELINE_MIOU, FELL = "baseline_mIoU", "fell_in_epoch"
# What a process has to say before a step; all do what the largest says.
READY, STOP, UNREADABLE = range(3)
# Images of each evaluation in TensorBoard; 100 KB each.
IMAGES_SHOWN = 2


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
            if done == 0 and BASELINE_MIOU not in self.provenance:
                progress = self._begin(progress, history, watcher)
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

    def _begin(self, progress: Progress, history: History, watcher: Watcher) -> Progress:
        """Evaluate the baseline before any step, as epoch 0: what a run has to hold.

        Without a baseline one image: a size that evaluation cannot take is found before an epoch.
        """
        if "baseline" not in self.provenance:
            with self._predictor() as predictor:
                next(judged(predictor, self.dataset, self.validation[:1]))
            return progress
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
        images: dict[str, NDArray[np.uint8]] = {}
        counts, names = self._evaluation(images), self.dataset.labels.names
        found: Row = summary(counts, names)
        found["evaluation_s"] = time.perf_counter() - started
        history.show(self.recipe.model_dump(mode="json"), names, counts, images, row | found)
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

    def _evaluation(self, images: dict[str, NDArray[np.uint8]]) -> Matrix:
        """C x (C + 1) counts over the validation set; each process takes its share of the images.

        The first are put into `images` with their labels, to look at.
        """
        processes, table = self.processes, self.dataset.labels
        # Statistics of batch normalisation are a process's own on a CPU.
        processes.equalise(self.learner.result.buffers())
        counts = torch.zeros((table.num_classes, table.num_classes + 1), dtype=torch.int64)
        with self._predictor() as predictor:
            mine = processes.share(self.validation)
            for one in judged(predictor, self.dataset, mine, threads=max(1, self.workers)):
                counts += torch.from_numpy(one.counts)
                if len(images) < IMAGES_SHOWN:
                    images[f"labels and prediction/{one.name}"] = _side_by_side(one, table)
        return processes.sum(counts).numpy()

    def _predictor(self) -> NetworkPredictor:
        """In float32 at the images' own size or `evaluation.imgsz`, whatever is trained in."""
        return NetworkPredictor(
            self.learner.result,
            self.dataset.labels,
            device=str(self.learner.device),
            input_hw=self.recipe.evaluation.imgsz,
        )


def _side_by_side(one: Judged, table: LabelTable) -> NDArray[np.uint8]:
    """uint8 h x 2w x 3: labels and prediction in the classes' colors, at most 512 pixels wide."""
    colors = np.zeros((256, 3), np.uint8)
    colors[: table.num_classes] = table.colors
    step = -(-one.label.shape[1] // 512)
    both = np.concatenate([one.label[::step, ::step], one.predicted[::step, ::step]], axis=1)
    image: NDArray[np.uint8] = colors[both]
    return image


class _Unreadable(Exception):
    """An image cannot be used; `error` says which."""

    def __init__(self, error: ArtoolkitError) -> None:
        super().__init__(str(error))
        self.error = error
