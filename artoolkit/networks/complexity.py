"""What a network costs on paper: parameters and multiply-adds. Time is measured elsewhere."""

from __future__ import annotations

import torch
from torch import nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from artoolkit.networks.network import Network


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
