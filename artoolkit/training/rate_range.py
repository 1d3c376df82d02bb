"""Range test of the learning rate (Smith, arXiv 1506.01186): which rates the loss bears.

The rate rises from step to step while the network learns; the loss falls, stands and explodes.
Nothing is kept of it: the network is thrown away and no file is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from artoolkit.data import DataSet
from artoolkit.errors import TrainingError
from artoolkit.networks.checkpoint import Checkpoint
from artoolkit.training.engine import train_one_epoch
from artoolkit.training.epochs import Run
from artoolkit.training.loader import fetched
from artoolkit.training.processes import Machine, together
from artoolkit.training.recipe import Recipe
from artoolkit.training.run import balance, prepared

# SGD learns at up to 1, AdamW from 1e-5 on; ten steps a decade show where the loss turns.
LOWEST, HIGHEST, STEPS = 1e-6, 1.0, 60
# A single batch's loss says more of its images than of the rate: Smith's curves are averages too.
_SMOOTHING = 0.8
_EXPLODED = 4.0  # times the lowest loss: what follows only gets worse


@dataclass(frozen=True)
class RateRange:
    """Rates in ascending order, and the smoothed loss at each."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]

    @property
    def suggested(self) -> float:
        """A tenth of the rate at which the loss was lowest: there it is about to turn."""
        return self.rates[min(range(len(self.losses)), key=self.losses.__getitem__)] / 10


def find_rate(
    recipe: Recipe,
    dataset: DataSet,
    *,
    machine: Machine,
    baseline: Checkpoint | None = None,
    encoder: Checkpoint | None = None,
    teachers: Sequence[Checkpoint] = (),
    steps: int = STEPS,
) -> RateRange:
    """The losses at rates from `LOWEST` to `HIGHEST`, up to where they explode.

    Raises what `run.start` does, and `TrainingError` where the first loss is not finite.
    """
    recipe, network, device = prepared(recipe, dataset, baseline, encoder, machine)
    rates = [LOWEST * (HIGHEST / LOWEST) ** (step / (steps - 1)) for step in range(steps)]
    with together(machine.processes, device):
        run = Run(
            recipe, dataset, Path(), network, device, machine, balance(recipe, dataset), teachers
        )
        run.learner.rate = rates.__getitem__
        losses: list[float] = []
        try:
            while len(losses) < steps and not _exploded(losses):
                run.batches.epoch = epoch = len(losses) // len(run.batches)
                for row in train_one_epoch(run.learner, fetched(run.loader), epoch=epoch):
                    last = losses[-1] if losses else row["loss"]
                    losses.append(_SMOOTHING * last + (1 - _SMOOTHING) * row["loss"])
                    if len(losses) == steps or _exploded(losses):
                        break
        except TrainingError:
            if not losses:
                raise
    return RateRange(tuple(rates[: len(losses)]), tuple(losses))


def _exploded(losses: Sequence[float]) -> bool:
    return bool(losses) and losses[-1] > _EXPLODED * min(losses)
