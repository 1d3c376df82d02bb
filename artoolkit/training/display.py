"""Display of a run: one bar with the time left, one line per evaluated epoch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, TypeVar

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from artoolkit.evaluation.experiment import Row as JudgedRow
from artoolkit.training import state
from artoolkit.training.arms import Run
from artoolkit.training.assembly import native_precision
from artoolkit.training.engine import Row
from artoolkit.training.history import ROW_FIELDS, has_tensorboard
from artoolkit.training.recipe import Recipe

Bar = TypeVar("Bar", bound="_Bar")


# Who follows a log wants to know that it goes on, not to scroll.
LINE_EVERY_S = 10.0


class _Bar:
    """A bar with what was done, numbers and the time left; a line of it every 10 s elsewhere."""

    def __init__(self, console: Console, **options: Any) -> None:
        self.console = console
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            **options,
        )
        self._task: TaskID | None = None
        self._last = time.monotonic()

    def _update(self, **changes: Any) -> None:
        """Moves the bar; where there is no terminal, a line says the same when it is time."""
        if self._task is None:
            return
        self._bar.update(self._task, **changes)
        if self.console.is_terminal or time.monotonic() - self._last < LINE_EVERY_S:
            return
        self._last = time.monotonic()
        task = self._bar.tasks[self._task]
        left = "" if task.time_remaining is None else f", about {task.time_remaining:.0f} s left"
        self.console.print(
            f"{task.description}: {task.percentage:.0f} %, {task.fields['numbers']}, "
            f"{task.elapsed or 0:.0f} s{left}",
            highlight=False,
        )

    def __enter__(self: Bar) -> Bar:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()


class ProgressBar(_Bar):
    """A `watcher.Watcher`: a bar over all steps, and a line for every evaluated epoch."""

    def __init__(self, console: Console, device: str = "cpu") -> None:
        super().__init__(console)
        self.device = device
        self._epochs = 0
        self._rows: list[Row] = []

    def started(self, recipe: Recipe, iterations_per_epoch: int, progress: state.Progress) -> None:
        self._epochs = recipe.schedule.epochs
        done = progress.epoch * iterations_per_epoch + progress.step
        total = self._epochs * iterations_per_epoch
        self._task = self._bar.add_task(recipe.name, total=total, completed=done, numbers="")
        where = f" from epoch {progress.epoch + 1}, step {progress.step + 1}" if done else ""
        precision = recipe.execution.precision
        if not has_tensorboard():
            self.console.print("tensorboard is not installed: the curves are in metrics.jsonl only")
        self.console.print(
            f"{recipe.name}: {recipe.network.name}, {self._epochs} epochs of "
            f"{iterations_per_epoch} steps{where}, batch {recipe.schedule.batch_size}, "
            f"seed {recipe.seed}, AR weight {recipe.loss.ar_weight:g}, "
            f"{precision} on {self.device}",
            highlight=False,
        )
        if precision == "bf16" and native_precision(torch.device(self.device)) != "bf16":
            self.console.print(
                f"{self.device} has no instructions for bf16, which is emulated and slow: "
                "--set execution.precision=fp32 is faster",
                highlight=False,
            )

    def stepped(self, row: Row) -> None:
        self._rows.append(row)
        self._update(advance=1, numbers=f"loss {row['loss']:.3f}  lr {row['lr']:.2g}")

    def evaluated(self, row: Row) -> None:
        parts = [f"epoch {row['epoch']}/{self._epochs}"]
        if self._rows:
            parts.append(f"loss {self._mean('loss'):.4f}")
            terms = [f"{n} {self._mean(n):.4f}" for n in self._rows[-1] if n not in ROW_FIELDS]
            parts += [f"({', '.join(terms)})"] if len(terms) > 1 else []
        self._rows.clear()
        if "mIoU" in row:
            parts += [f"mIoU {row['mIoU']:.2f} %", f"aAcc {row['aAcc']:.2f} %"]
        self.console.print("  ".join(parts), highlight=False)

    def _mean(self, name: str) -> float:
        """Over the steps since the last epoch's line."""
        return float(sum(row[name] for row in self._rows) / len(self._rows))


class ExperimentBar(_Bar):
    """An `experiment.ExperimentWatcher` for a terminal: one bar over all runs, one line a run."""

    def __init__(self, console: Console) -> None:
        super().__init__(console, speed_estimate_period=3600)  # a run takes minutes to hours
        self._done = 0
        self._steps = 1

    def planned(self, runs: Sequence[Run], finished: int, epochs: int) -> None:
        already = f", {finished} finished before" if finished else ""
        self.console.print(f"{len(runs)} runs of {epochs} epochs to do{already}", highlight=False)
        self._done = 0
        if self._task is not None:  # a second look
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task("runs", total=len(runs), numbers="")

    def started(self, recipe: Recipe, iterations_per_epoch: int, progress: state.Progress) -> None:
        self._steps = recipe.schedule.epochs * iterations_per_epoch
        done = progress.epoch * iterations_per_epoch + progress.step
        self._show(done / self._steps, recipe.name)

    def stepped(self, row: Row) -> None:
        self._show(row["iteration"] / self._steps, numbers=f"loss {row['loss']:.3f}")

    def evaluated(self, row: Row) -> None:
        """The row of the finished run says it."""

    def judging(self, run: Run, done: int, images: int) -> None:
        self._show(1.0, numbers=f"judged on {done} of {images} images")

    def finished(self, run: Run, row: JudgedRow) -> None:
        self._done += 1
        self._show(0.0)
        boundary = row["boundary_mIoU"]
        parts = [f"{run.name}: mIoU {row['mIoU']:.2f} %"]
        parts += [f"boundary {boundary:.2f} %"] if boundary is not None else []
        parts.append(f"{row['step_s']:.3f} s a step")
        self.console.print(", ".join(parts), highlight=False)

    def _show(self, share: float, name: str | None = None, numbers: str = "") -> None:
        changes = {"description": name} if name else {}
        self._update(completed=self._done + share, numbers=numbers, **changes)
