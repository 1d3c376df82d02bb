"""Weights that others published, brought into artoolkit's networks.

`weight_files.py` opens a file without running code from it; `convert` renames its keys so that they
load strictly into `build(name, num_classes=K, layout=layout)`; `load_trunk` starts a network from
an ImageNet trunk. Which key goes where stands in `layouts.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from artoolkit.errors import CheckpointError, UsageError
from artoolkit.networks.builder import LAYOUTS, NETWORKS
from artoolkit.networks.checkpoint import state_differences
from artoolkit.networks.layouts import Layout, State
from artoolkit.networks.network import Network
from artoolkit.networks.weight_files import unwrap
from artoolkit.words import AUTO

NORM_EPS = 1e-5
# The parts of an ImageNet classifier that no segmentation network has.
CLASSIFIER = re.compile(r"^(fc|classifier|features\.18|head|_fc|_conv_head|_bn1)\.")
# Code bases whose weights belong to another function than any network here: a key, and the reason.
FOREIGN = (
    (
        r"^(backbone\.)?patch_embed1\.proj\.weight$",
        "NVlabs/SegFormer",
        "its head is not mmsegmentation's, and two LayerNorms have not transformers' epsilon",
        "Convert them to transformers' form, or fetch mmsegmentation's.",
    ),
    (
        r"^cp\.backbone\.features\.0\.",
        "MichaelFan01/STDC-Seg",
        "its in-place normalisation takes the absolute value of its weights",
        "Fetch mmsegmentation's: artoolkit weights list --network stdc1.",
    ),
)


def detect(state: Mapping[str, object]) -> str:
    """The layout that the keys belong to, or a `CheckpointError` that shows some of them."""
    for name, layouts in LAYOUTS.items():
        if any(layout.matches(state) for layout in layouts):
            return name
    for marker, source, reason, hint in FOREIGN:
        if any(re.search(marker, key) for key in state):
            raise CheckpointError(
                f"the weights are those of {source}, which is another function: {reason}", hint=hint
            )
    raise CheckpointError(
        "the weights are in no layout that artoolkit knows",
        got=f"keys such as {', '.join(list(state)[:3])}",
        expected=", ".join(LAYOUTS),
    )


def detect_with_trunks(state: Mapping[str, object]) -> str:
    """As `detect`; classifiers whose trunk stands under "backbone." are "torchvision" too."""
    bare = [key.removeprefix("backbone.") for key in state]
    try:
        return detect(state)
    except CheckpointError:
        if any(layout.matches(bare) for layout in LAYOUTS["torchvision"]):
            return "torchvision"
        raise


def _layout(state: Mapping[str, object], name: str) -> Layout:
    if name != AUTO and name not in LAYOUTS:
        raise UsageError.unknown("layout", name, (*LAYOUTS, AUTO))
    found = detect(state)
    if name not in (AUTO, found):
        raise CheckpointError(
            "the weights are in another layout than stated", got=found, expected=name
        )
    return next(layout for layout in LAYOUTS[found] if layout.matches(state))


def check_layout_of(network: str, state: Mapping[str, object], layout: str) -> None:
    """`CheckpointError` where the weights are in a layout that only other networks have."""
    chosen = _layout(state, layout)
    takers = [name for name, entry in NETWORKS.items() if chosen in entry.layouts.values()]
    if takers and network not in takers:
        raise CheckpointError(
            "these weights belong to another network",
            got=chosen.source,
            expected=network,
            hint=f"Give --network {' or '.join(takers)}.",
        )


def convert(state_dict: Mapping[str, Any], layout: str = AUTO) -> State:
    """Published weights under artoolkit's keys, ready for `build(name, ..., layout=layout)`.

    Every key is kept: one that has no place in the network is found by the strict loading, under
    its own name. `layout` "torchvision" gives a trunk only (see `load_trunk`). What a deployed
    file leaves out because it is for training only starts at zero. Raises `CheckpointError` where
    the keys belong to another layout, `UsageError` for an unknown one.
    """
    state = unwrap(state_dict)
    chosen = _layout(state, layout)
    if chosen in LAYOUTS["torchvision"]:
        return trunk_state(state)
    if chosen in LAYOUTS["caffe"]:
        state = _with_merged_norms(state) | _caffe_heads(state)
    state = chosen.prepare(state)
    renamed = {chosen.rename(key): value for key, value in state.items()}
    if len(renamed) != len(state):
        raise CheckpointError("two weights of the file have the same place in the network")
    return renamed


def names_in_file(keys: Mapping[str, str], layout: str) -> dict[str, str]:
    """The file's own keys by artoolkit's, for messages about them."""
    for one in LAYOUTS[layout]:
        bare = {key.removeprefix("backbone."): name for key, name in keys.items()}
        for known in (keys, bare):
            if one.matches(known):
                return {one.rename(key): name for key, name in known.items()}
    return dict(keys)


def _with_merged_norms(state: Mapping[str, Tensor]) -> State:
    """Normalisation that was merged into convolutions becomes an identity again.

    The merged convolution has a bias, which goes where the normalisation adds its own.
    """
    full = dict(state)
    merged = [
        key.removesuffix(".bias")
        for key in state
        if key.endswith(".bias") and "/bn." not in key and not key.startswith("conv6_cls.")
    ]
    for layer in merged:
        bias = full.pop(f"{layer}.bias").float()
        full[f"{layer}/bn.weight"] = torch.ones_like(bias)
        full[f"{layer}/bn.bias"] = bias
        full[f"{layer}/bn.running_mean"] = torch.zeros_like(bias)
        full[f"{layer}/bn.running_var"] = torch.full_like(bias, 1 - NORM_EPS)
        full[f"{layer}/bn.num_batches_tracked"] = torch.zeros((), dtype=torch.int64)
    return full


def _caffe_heads(state: Mapping[str, Tensor]) -> State:
    """Auxiliary classifiers, which no deployed file holds, at zero."""
    classes = state["conv6_cls.weight"].shape[0]
    heads = {}
    for name, reader in (("aux_16", "conv_sub4.weight"), ("aux_8", "conv_sub2.weight")):
        if reader in state:
            heads[f"{name}.weight"] = torch.zeros(classes, state[reader].shape[1], 1, 1)
            heads[f"{name}.bias"] = torch.zeros(classes)
    return heads


def classifier_keys(state: Mapping[str, object]) -> tuple[str, ...]:
    """The keys of an ImageNet classifier's own head."""
    return tuple(key for key in state if CLASSIFIER.match(key))


def trunk_state(state_dict: Mapping[str, Any]) -> State:
    """An ImageNet trunk (torchvision ResNet, v1c or MobileNet-v2) under artoolkit's keys."""
    state = {key: value for key, value in unwrap(state_dict).items() if not CLASSIFIER.match(key)}
    state = {key.removeprefix("backbone."): value for key, value in state.items()}
    chosen = _layout(state, "torchvision")
    renamed = {chosen.rename(key): value for key, value in chosen.prepare(state).items()}
    if "trunk.layers.0.0.depthwise.conv.weight" in renamed:
        renamed |= _identity_expansion(renamed["trunk.layers.0.0.depthwise.conv.weight"].shape[0])
    return renamed


def _identity_expansion(channels: int) -> State:
    """The first block's expansion, which torchvision leaves out, as the identity."""
    prefix = "trunk.layers.0.0.expand."
    return {
        f"{prefix}conv.weight": torch.eye(channels)[:, :, None, None].contiguous(),
        f"{prefix}norm.weight": torch.ones(channels),
        f"{prefix}norm.bias": torch.zeros(channels),
        f"{prefix}norm.running_mean": torch.zeros(channels),
        f"{prefix}norm.running_var": torch.full((channels,), 1 - NORM_EPS),
        f"{prefix}norm.num_batches_tracked": torch.zeros((), dtype=torch.int64),
    }


def load_trunk(network: Network, state_dict: Mapping[str, Any]) -> None:
    """Starts the network's trunk from ImageNet weights; its other parts stay as they are.

    `state_dict` is a torchvision ResNet or MobileNet-v2, a v1c ResNet, or what mmsegmentation
    starts the network from; what it holds of the trunk beside the encoder is left out.
    `CheckpointError` naming every key where the trunk is another one.
    """
    state = {
        key: value
        for key, value in trunk_state(state_dict).items()
        if key.startswith(network.encoder) or not key.startswith("trunk.")
    }
    expected = {
        key: value for key, value in network.state_dict().items() if key.startswith(network.encoder)
    }
    if differences := state_differences(expected, state):
        raise CheckpointError(
            f"these ImageNet weights are not of the trunk of {network.name}",
            got="; ".join(differences),
        )
    network.load_state_dict(state, strict=False)
