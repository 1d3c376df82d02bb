"""Cost of a network on paper: parameters and multiply-adds. Time is measured elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from artoolkit.networks.builder import NETWORKS, build
from artoolkit.networks.network import Network

# The networks are compared on Cityscapes: its classes, its image size.
SIZE_HW = (1024, 2048)
CLASSES = 19


def parameter_count(network: Network) -> int:
    """Trained parameters that reach a device: those of `training_only` parts left out."""
    return sum(
        parameter.numel()
        for name, parameter in network.named_parameters()
        if not name.startswith(network.training_only or ("\0",))
    )


def macs(network: nn.Module, size_hw: tuple[int, int]) -> int:
    """Multiply-adds of one image of `size_hw` in evaluation mode: convolutions and products.

    Nothing is computed (meta tensors), so that any size is counted at once.
    """
    state = {
        name: tensor.detach().to("meta")
        for name, tensor in (*network.named_parameters(), *network.named_buffers())
    }
    image = torch.empty(1, 3, *size_hw, device="meta")
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            functional_call(network, state, (image,))
    finally:
        network.train(was_training)
    return int(counter.get_total_flops()) // 2


@dataclass(frozen=True)
class NetworkCost:
    """Trained parameters that reach a device, and multiply-adds of one 1024 x 2048 image."""

    network: str
    parameters: int
    macs: int
    output_stride: int


def network_costs() -> list[NetworkCost]:
    """Every built-in network with 19 classes, as it is deployed."""
    costs = []
    for name in NETWORKS:
        with torch.device("meta"):  # shapes alone: no weight is drawn
            network = build(name, num_classes=CLASSES)
        costs.append(
            NetworkCost(
                name, parameter_count(network), macs(network, SIZE_HW), network.output_stride
            )
        )
    return costs
