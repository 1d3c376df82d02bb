"""One epoch of training.

`train_one_epoch` yields a row an iteration and stops where its caller stops asking, always between
two steps. Legend: B batch, C classes, H W pixels, h w positions of the score map.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from artoolkit.deploy.graph import Deployed
from artoolkit.errors import TrainingError
from artoolkit.losses import Objective
from artoolkit.networks import Network
from artoolkit.training.loader import Batch, step_seed
from artoolkit.training.optimizer import (
    Average,
    build_optimizer,
    freeze_batch_norm,
    lr_factor,
    set_learning_rate,
)
from artoolkit.training.processes import ALONE, Processes
from artoolkit.training.recipe import Recipe
from artoolkit.training.teacher import Teacher

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
Row = dict[str, Any]


def _to_channels_last(network: nn.Module) -> None:
    """Lays out the weights of 2-D convolutions, where every network in it can take that.

    `nn.Module.to` would refuse weights of 3-D convolutions beside them.
    """
    if not all(getattr(part, "channels_last", True) for part in network.modules()):
        return
    for weight in (*network.parameters(), *network.buffers()):
        if weight.ndim == 4:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)


@dataclass
class Learner:
    """State that changes while a network is trained; everything else is the recipe's.

    `rate`: the base learning rate of an iteration, where it is not the recipe's.
    """

    network: Network
    objective: Objective
    recipe: Recipe
    device: torch.device
    iterations_per_epoch: int
    processes: Processes = ALONE
    teacher: Teacher | None = None
    rate: Callable[[int], float] | None = None
    deployed: Deployed = field(init=False)
    model: nn.Module = field(init=False)
    optimizer: torch.optim.Optimizer = field(init=False)
    scaler: torch.amp.GradScaler = field(init=False)
    average: Average | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.network.to(self.device)
        if self.recipe.execution.channels_last:
            _to_channels_last(self.network)
        if self._joint_statistics:
            # torch leaves this method without types.
            nn.SyncBatchNorm.convert_sync_batchnorm(self.network)  # type: ignore[no-untyped-call]
        if self.teacher is not None:
            self.teacher.to(self.device)
            if self.recipe.execution.channels_last:
                _to_channels_last(self.teacher)
        # Pixels are normalised in the step as they are in evaluation and in the exported graph.
        self.deployed = Deployed(self.network, self.network.preprocess).to(self.device)
        self.model = self.processes.joint(self.network, self.device)
        if self.processes.count > 1:
            self.objective.mean_count = self.processes.mean
            self.objective.share = (self.processes.rank, self.processes.count)
        self.objective.to(self.device)
        self.optimizer = build_optimizer(self.network, self.recipe.optimizer)
        # fp16 gradients underflow without a scale; bf16 has the range of fp32.
        scaled = self.recipe.execution.precision == "fp16"
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=scaled)
        settings = self.recipe.optimizer
        if settings.ema_decay is not None or settings.average_epochs is not None:
            self.average = Average(self.network, settings.ema_decay)

    @property
    def _joint_statistics(self) -> bool:
        """True if batch normalisation takes its statistics over all processes (GPUs only)."""
        several = self.processes.count > 1 and self.device.type == "cuda"
        return several and not self.recipe.optimizer.freeze_bn

    @property
    def result(self) -> Network:
        """The network that is evaluated and saved."""
        if self.average is None or self.average.updates == 0:
            return self.network
        return self.average.network

    def autocast(self) -> torch.autocast:
        dtype = AUTOCAST.get(self.recipe.execution.precision)
        return torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None)

    def step(
        self, images: Tensor, labels: Tensor, iteration: int, maps: Sequence[Tensor] = ()
    ) -> dict[str, float]:
        """One update from uint8 images B x H x W x 3 and labels B x H x W; the terms' values.

        With a teacher also `teacher_s`, the seconds that it took (on a GPU: to be asked).
        `maps` are those that the objective asks for, in its order, B x H x W each.

        Raises `TrainingError` with every term where the loss is not finite, before the update.
        """
        if self.rate is not None:
            lr = self.rate(iteration)
        else:
            lr = self.recipe.optimizer.lr * lr_factor(
                self.recipe.schedule, iteration, self.iterations_per_epoch
            )
        set_learning_rate(self.optimizer, lr)
        pixels = images.to(self.device, non_blocking=True)
        taught, teaching = None, {}
        if self.teacher is not None:
            started = time.perf_counter()
            with self.autocast():
                taught = self.teacher(pixels)
            teaching["teacher_s"] = time.perf_counter() - started
        # Dropout must not repeat itself in the next process.
        torch.manual_seed(step_seed(self.recipe.seed, iteration, self.processes.rank))
        inputs = self.deployed.normalised(pixels)
        truth, *extra = (t.to(self.device, non_blocking=True) for t in (labels, *maps))
        made = dict(zip(self.objective.maps, extra, strict=True))
        with self.autocast():
            # The loss reads whole score planes: on a CPU it takes two thirds of the time that way.
            outputs = {name: scores.contiguous() for name, scores in self.model(inputs).items()}
            if self.processes.count > 1:
                # Jittered points are drawn for the whole batch, the same ones everywhere.
                torch.manual_seed(step_seed(self.recipe.seed, iteration))
            terms = self.objective(outputs, truth, made, taught)
            loss = self.objective.total(terms)
        named = {"loss": loss, **terms}
        # One transfer for all the numbers.
        numbers = torch.stack([v.detach().float() for v in named.values()])
        values = dict(zip(named, self.processes.mean(numbers).tolist(), strict=True))
        if not math.isfinite(values["loss"]):
            raise not_finite(values, iteration, self.iterations_per_epoch)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(self.scaler.scale(loss))
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None and self.recipe.optimizer.ema_decay is not None:
            self.average.update_parameters(self.network)
        return {**values, "lr": lr, **teaching}

    def finish_epoch(self, epoch: int) -> None:
        """Epoch `epoch`, from 0, has ended: its weights count where the last ones are averaged."""
        last = self.recipe.optimizer.average_epochs
        if self.average is not None and last and epoch >= self.recipe.schedule.epochs - last:
            self.average.update_parameters(self.network)


def not_finite(
    values: dict[str, float], iteration: int, iterations_per_epoch: int
) -> TrainingError:
    """The error that stops a run whose loss is NaN or infinite."""
    epoch, step = divmod(iteration, iterations_per_epoch)
    return TrainingError(
        f"the loss is not finite in epoch {epoch + 1}, step {step + 1}",
        got=", ".join(f"{name} {value:.6g}" for name, value in values.items()),
        hint="The last saved epoch is kept; try a lower optimizer.lr, a warm-up, or fp32.",
    )


def train_one_epoch(
    learner: Learner, batches: Iterable[Batch], *, epoch: int, first_step: int = 0
) -> Iterator[Row]:
    """A row an iteration: terms, lr, iteration, and the seconds spent waiting and working."""
    learner.network.train()
    if learner.recipe.optimizer.freeze_bn:
        freeze_batch_norm(learner.network)
    asked = time.perf_counter()
    for step, (images, labels, *maps) in enumerate(batches, first_step):
        given = time.perf_counter()
        iteration = epoch * learner.iterations_per_epoch + step
        values = learner.step(images, labels, iteration, maps)
        done = time.perf_counter()
        yield {
            "epoch": epoch + 1,
            "step": step + 1,
            "iteration": iteration + 1,
            **values,
            "data_s": given - asked,
            "step_s": done - given,
        }
        asked = time.perf_counter()
