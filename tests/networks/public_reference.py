"""The reference values of the public code bases: known weights, known input, what came out.

The recipe of weights and input stands with the data: a weight is a function of its key and shape.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from artoolkit.networks import Network, build
from artoolkit.networks.builder import LAYOUTS
from artoolkit.networks.layouts import DRSLEEP, MMSEG, TORCHVISION

FOLDER = Path(__file__).parent.parent / "data" / "reference"


@dataclass(frozen=True)
class Reference:
    shapes: dict[str, tuple[int, ...]]
    image: Tensor
    size_hw: tuple[int, int]
    classes: int
    index: np.ndarray[Any, Any]
    value: np.ndarray[Any, Any]
    argmax: np.ndarray[Any, Any]

    def state(self) -> dict[str, Tensor]:
        return {key: weight(key, shape) for key, shape in self.shapes.items()}

    def hollow_state(self) -> dict[str, Tensor]:
        """The keys and shapes alone, for tests that compute nothing."""
        return {key: torch.empty(shape, device="meta") for key, shape in self.shapes.items()}


def weight(key: str, shape: tuple[int, ...]) -> Tensor:
    if key.endswith(".num_batches_tracked"):
        return torch.zeros((), dtype=torch.int64)
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    if key.endswith(".running_mean"):
        values = 0.1 * rng.standard_normal(shape)
    elif key.endswith(".running_var"):
        values = 0.5 + rng.random(shape)
    elif len(shape) == 4:
        values = rng.standard_normal(shape) * np.sqrt(1 / (shape[1] * shape[2] * shape[3]))
    elif len(shape) == 2:
        values = rng.standard_normal(shape) * np.sqrt(1 / shape[1])
    elif key.endswith(".weight"):
        values = 0.5 + rng.random(shape)
    else:
        values = 0.1 * rng.standard_normal(shape)
    return torch.from_numpy(values.astype(np.float32))


def reference(name: str) -> Reference:
    with np.load(FOLDER / f"{name}.npz") as stored:
        classes, height, width = stored["output_shape"][-3:].tolist()
        image = np.random.default_rng(7).standard_normal(stored["input_shape"])
        return Reference(
            {key: tuple(shape) for key, shape in json.loads(str(stored["keys"])).items()},
            torch.from_numpy(image.astype(np.float32)),
            (height, width),
            classes,
            stored["index"],
            stored["value"],
            stored["argmax"],
        )


NARROW = {"width": 0.0625}


def narrow_published(name: str, network: str, layout: str) -> dict[str, Tensor]:
    """The whole file `name` as its code base would write it for a narrow `network`."""
    stored = reference(name)
    narrow = build(network, num_classes=stored.classes, layout=layout, **NARROW).state_dict()
    (rules,) = (rules for rules in LAYOUTS[layout] if rules.matches(stored.shapes))
    return {key: weight(key, tuple(narrow[rules.rename(key)].shape)) for key in stored.shapes}


# network -> the reference that has its trunk, and how ImageNet files call the keys of that trunk
TRUNKS = {
    "icnet_r18": ("mmseg_icnet_r18", "backbone.backbone."),
    "icnet_r50": ("mmseg_icnet_r50", "backbone.backbone."),
    "icnet_r101": ("mmseg_icnet_r101", "backbone.backbone."),
    "pspnet50": ("mmseg_pspnet_r50", "backbone."),
    "pspnet101": ("mmseg_pspnet_r101", "backbone."),
    "refinenet_lw50": ("drsleep_rf_lw50", ""),
    "refinenet_lw101": ("drsleep_rf_lw101", ""),
    "refinenet_lw152": ("drsleep_rf_lw152", ""),
}


def imagenet_trunk(network: Network) -> dict[str, Tensor]:
    """A classifier as torchvision or mmcls publish it, of the width of `network`, with its fc."""
    name, prefix = TRUNKS[network.name]
    whole = MMSEG if prefix else DRSLEEP
    own = network.state_dict()
    state = {
        key.removeprefix(prefix): weight(key, tuple(own[whole.rename(key)].shape))
        for key in reference(name).shapes
        if key.startswith(prefix) and whole.rename(key).startswith("trunk.")
    }
    assert TORCHVISION.matches(state)
    return {**state, "fc.weight": torch.zeros(10, 4), "fc.bias": torch.zeros(10)}
