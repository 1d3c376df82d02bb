"""A network that was never trained, so that its latency is known before anyone trains it."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from artoolkit.labels import LabelTable
from artoolkit.networks import Network, build
from artoolkit.networks.checkpoint import Checkpoint, CheckpointMeta


def untrained_checkpoint(
    network: str,
    num_classes: int,
    *,
    labels: LabelTable | None = None,
    layout: str | None = None,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Checkpoint:
    """A checkpoint of `network` with random weights, the same for the same `seed`.

    Its batch normalisation has seen one batch of noise, so that activations keep a sane size in
    every precision: denormal or infinite numbers would change the time. `UsageError` for an
    unknown network.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        built = build(network, num_classes=num_classes, layout=layout, **(options or {}))
        _settle(built)
    meta = CheckpointMeta(
        network=network,
        num_classes=num_classes,
        layout=layout,
        options=built.options,
        labels=labels or numbered_classes(num_classes),
        preprocess=built.preprocess,
        provenance={"untrained": True, "seed": seed},
    )
    return Checkpoint(meta, {key: value.clone() for key, value in built.state_dict().items()})


def numbered_classes(count: int) -> LabelTable:
    """`class_0`, `class_1`, ... in colors around the wheel, for networks without a data set."""
    hues = [colorsys.hsv_to_rgb(index / count, 0.8, 0.9) for index in range(count)]
    return LabelTable(
        name="untrained",
        names=tuple(f"class_{index}" for index in range(count)),
        colors=tuple((round(255 * r), round(255 * g), round(255 * b)) for r, g, b in hues),
        file_ids=tuple(range(count)),
    )


def _settle(network: Network) -> None:
    """Let batch normalisation take its statistics from one batch of noise."""
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    height, width = (2 * side for side in network.minimum_hw)
    with torch.no_grad():
        network.train()(torch.randn(2, 3, height, width))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()
