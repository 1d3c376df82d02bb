"""A network of a few channels with every part that export has to get right."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from artoolkit.deploy.onnx import OnnxInfo
from artoolkit.deploy.untrained import numbered_classes
from artoolkit.networks import Network
from artoolkit.networks.checkpoint import Checkpoint, CheckpointMeta
from artoolkit.networks.pooling import PyramidSum
from artoolkit.preprocess import Preprocess, normalise
from artoolkit.spec import Target

CLASSES = 5
Exporter = Callable[..., OnnxInfo]


class Tiny(Network):
    """Convolutions with and without normalisation, a sum, pooling, resizing, an aux head."""

    training_only = ("aux.",)
    output_stride = 4

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(8)
        self.body = nn.Conv2d(8, 8, 3, padding=2, dilation=2)
        self.body_norm = nn.BatchNorm2d(8)
        self.alone = nn.BatchNorm2d(8)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.pyramid = PyramidSum((1, 2))
        self.low = nn.Conv2d(8, 8, 3, stride=2, padding=1)
        self.classifier = nn.Conv2d(8, num_classes, 1)
        self.aux = nn.Conv2d(8, num_classes, 1)

    def forward(self, images_B3HW: Tensor) -> Tensor | dict[str, Tensor]:
        x = self.pool(functional.relu(self.stem_norm(self.stem(images_B3HW))))
        x = functional.relu(x + self.body_norm(self.body(x)))
        x = self.pyramid(self.alone(x))
        size = (x.shape[-2], x.shape[-1])
        low = functional.interpolate(self.low(x), size, mode="bilinear", align_corners=True)
        scores = self.classifier(functional.relu(low))
        return {"main": scores, "aux": self.aux(x)} if self.training else scores


def tiny_checkpoint(seed: int = 0, **meta: object) -> Checkpoint:
    """Random weights and statistics; its labels use every class."""
    torch.manual_seed(seed)
    network = Tiny(CLASSES)
    for name, value in network.named_buffers():
        if name.endswith("running_mean"):
            value.normal_(0, 0.2)
        elif name.endswith("running_var"):
            value.uniform_(0.5, 2)
    for parameter in network.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, 0.5, 0.3)
    nn.init.normal_(network.classifier.weight)
    _centre(network)
    values = {
        "network": "tiny",
        "num_classes": CLASSES,
        "labels": numbered_classes(CLASSES),
        "preprocess": Preprocess(),
        **meta,
    }
    state = {key: value.clone() for key, value in network.state_dict().items()}
    return Checkpoint(CheckpointMeta.model_validate(values), state)


def target(**changes: object) -> Target:
    return Target.model_validate({"name": "test", "imgsz": (40, 56), "threads": 1, **changes})


def seeded_images(count: int, size_hw: tuple[int, int] = (40, 56)) -> np.ndarray:
    """uint8 N x H x W x 3: smooth noise, so that neighbouring pixels agree as in a photograph."""
    coarse = np.random.default_rng(3).integers(0, 256, (count, 6, 8, 3), np.uint8)
    large = coarse.repeat(-(-size_hw[0] // 6), 1).repeat(-(-size_hw[1] // 8), 2)
    return np.ascontiguousarray(large[:, : size_hw[0], : size_hw[1]])


def _centre(network: Tiny) -> None:
    """Give every class the same mean score, so that each wins somewhere."""
    images = torch.from_numpy(normalise(seeded_images(2), Preprocess()))
    with torch.no_grad():
        scores = network.eval()(images)
        network.classifier.bias -= scores.mean((0, 2, 3))
