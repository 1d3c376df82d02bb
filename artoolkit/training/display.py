"""What a person sees of a run: one bar with the time left, one line an evaluated epoch."""

from __future__ import annotations

from types import TracebackType

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

from artoolkit.training import state
from artoolkit.training.assembly import native_precision
from artoolkit.training.engine import Row
from artoolkit.training.recipe import Recipe


class ProgressBar:
    """A `run.Watcher` for a terminal; where there is none, only the epochs' lines are printed."""

    def __init__(self, console: Console, device: str = "cpu") -> None:
        self.console, self.device = console, device
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._epochs = 0
        self._losses: list[float] = []

    def __enter__(self) -> ProgressBar:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def started(self, recipe: Recipe, iterations_per_epoch: int, progress: state.Progress) -> None:
        self._epochs = recipe.schedule.epochs
        done = progress.epoch * iterations_per_epoch + progress.step
        total = self._epochs * iterations_per_epoch
        self._task = self._bar.add_task(recipe.name, total=total, completed=done, numbers="")
        where = f" from epoch {progress.epoch + 1}, step {progress.step + 1}" if done else ""
        precision = recipe.execution.precision
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
        self._losses.append(row["loss"])
        if self._task is not None:
            numbers = f"loss {row['loss']:.3f}  lr {row['lr']:.2g}"
            self._bar.update(self._task, advance=1, numbers=numbers)

    def evaluated(self, row: Row) -> None:
        parts = [f"epoch {row['epoch']}/{self._epochs}"]
        if self._losses:
            parts.append(f"loss {sum(self._losses) / len(self._losses):.4f}")
        self._losses.clear()
        if "mIoU" in row:
            parts += [f"mIoU {row['mIoU']:.2f} %", f"aAcc {row['aAcc']:.2f} %"]
        self.console.print("  ".join(parts), highlight=False)
