"""SGD or AdamW with parameter groups, and the learning rate as a function of the iteration alone.

Nothing here has a state beside the optimizer's own, so that a resumed run cannot get out of step.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from artoolkit.errors import RecipeError
from artoolkit.networks import Network
from artoolkit.networks.factory import is_custom
from artoolkit.training.recipe import Optimizer, Schedule

Tensors = tuple[Tensor, ...] | list[Tensor]
BATCH_NORM = nn.modules.batchnorm._BatchNorm
NORMS = (BATCH_NORM, nn.LayerNorm, nn.GroupNorm)
SECOND_BETA = 0.999  # AdamW's own default, SegFormer's too


def lr_factor(schedule: Schedule, iteration: int, iterations_per_epoch: int) -> float:
    """Factor of the base learning rate in `iteration` (from 0), in [0, 1].

    `poly` is (1 - t / T)^power (Liu et al., ParseNet); the warm-up rises linearly to it.
    """
    warmup = schedule.warmup_iterations
    share = min(1.0, (iteration + 1) / warmup) if warmup else 1.0
    rising = schedule.start_factor + (1 - schedule.start_factor) * share
    if schedule.policy == "poly":
        left = 1 - iteration / (schedule.epochs * iterations_per_epoch)
        falling = schedule.end_factor + (1 - schedule.end_factor) * left**schedule.power
        return float(rising * falling)
    if schedule.policy == "steps":
        passed = bisect_right(schedule.milestones, iteration // iterations_per_epoch)
        return rising * schedule.factor**passed
    return rising


def build_optimizer(network: Network, settings: Optimizer) -> torch.optim.Optimizer:
    """SGD or AdamW over the network's parameters, each group with its `multiplier`.

    Groups: encoder or not, decayed or not (normalisation and biases, unless `decay_norms`). A
    multiplier of 0 leaves the parameters of its part out: they stay as they are.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for key, parameter, is_norm_or_bias in _parameters(network):
        in_encoder = key.startswith(tuple(network.encoder)) if network.encoder else False
        multiplier = settings.encoder_multiplier if in_encoder else settings.decoder_multiplier
        if is_custom(network.name) and not network.encoder:
            multiplier = 1.0  # nothing is named as encoder, so nothing is a decoder beside it
        decayed = settings.decay_norms or not is_norm_or_bias
        if multiplier > 0:
            decay = settings.weight_decay if decayed else 0.0
            groups.setdefault((multiplier, decay), []).append(parameter)
    members = [
        {"params": parameters, "multiplier": multiplier, "weight_decay": decay}
        for (multiplier, decay), parameters in groups.items()
    ]
    if not members:
        raise RecipeError(
            f"nothing of {network.name} would be trained",
            got=f"{len(list(network.parameters()))} parameters, optimizer.encoder_multiplier "
            f"{settings.encoder_multiplier:g}, decoder_multiplier {settings.decoder_multiplier:g}",
        )
    if settings.algorithm == "adamw":
        betas = (settings.momentum, SECOND_BETA)
        return torch.optim.AdamW(members, lr=settings.lr, betas=betas, fused=True)
    return torch.optim.SGD(
        members,
        lr=settings.lr,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        fused=True,
    )


def _parameters(network: nn.Module) -> Iterator[tuple[str, nn.Parameter, bool]]:
    for prefix, module in network.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            is_norm_or_bias = isinstance(module, NORMS) or name.endswith("bias")
            yield f"{prefix}.{name}" if prefix else name, parameter, is_norm_or_bias


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """`lr` times each group's multiplier."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["multiplier"]


def freeze_batch_norm(network: nn.Module) -> None:
    """Batch normalisation uses its running statistics and leaves them alone."""
    for module in network.modules():
        if isinstance(module, BATCH_NORM):
            module.eval()


class Average(AveragedModel):
    """An average of a network's weights, as a network of its own; counters are copied.

    With `decay` the exponential moving one, which starts slowly, at min(decay, n / (9 + n)) in
    update n, so that the random first weights are forgotten; without, the mean of all updates.
    """

    def __init__(self, network: Network, decay: float | None) -> None:
        super().__init__(network, multi_avg_fn=self._blend, use_buffers=True)
        self.decay = decay
        self.network.eval().requires_grad_(False)
        # At 0 the first update copies the weights: it does not blend them with the first ones.
        self.first = 0 if decay is None else 1
        self.updates = 0

    @property
    def network(self) -> Network:
        """The averaged network."""
        return cast(Network, self.module)

    @property
    def updates(self) -> int:
        """Number of updates so far."""
        return int(self.n_averaged) - self.first

    @updates.setter
    def updates(self, number: int) -> None:
        self.n_averaged.fill_(number + self.first)

    def _blend(self, own: Tensors, new: Tensors, _: Tensor | int) -> None:
        if not own[0].is_floating_point():
            torch._foreach_copy_(own, new)
            return
        # The buffer, which stays on the CPU: a GPU would have to be waited for.
        n = int(self.n_averaged)
        kept = n / (n + 1) if self.decay is None else min(self.decay, n / (9 + n))
        torch._foreach_lerp_(own, new, 1 - kept)
