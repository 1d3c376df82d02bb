"""The MobileNet-v2 trunk, with every stage's feature map kept for a decoder.

Sandler et al., "MobileNetV2", CVPR 2018. Every block expands, the first one by 1 (torchvision
leaves that one out). Fast-SCNN takes the blocks with ReLU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from artoolkit.networks.blocks import ConvNorm


@dataclass(frozen=True)
class InvertedStage:
    """A stage of inverted residual blocks: its first block has the stride."""

    expansion: int
    channels: int
    depth: int
    stride: int


class InvertedResidual(nn.Module):
    """1x1 expansion, 3x3 per channel, linear 1x1; added to the input where the shape is kept."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        expansion: int,
        stride: int,
        act: type[nn.ReLU | nn.ReLU6],
    ) -> None:
        super().__init__()
        wide = in_channels * expansion
        self.keeps_shape = stride == 1 and in_channels == out_channels
        self.expand = ConvNorm(in_channels, wide, act=act)
        self.depthwise = ConvNorm(wide, wide, 3, stride=stride, groups=wide, act=act)
        self.project = ConvNorm(wide, out_channels, act=None)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + out if self.keeps_shape else out


def inverted_stages(
    channels: int, stages: Sequence[InvertedStage], *, act: type[nn.ReLU | nn.ReLU6]
) -> nn.ModuleList:
    """The stages behind a feature of `channels`, as one `nn.Sequential` each."""
    layers = []
    for stage in stages:
        blocks = []
        for index in range(stage.depth):
            blocks.append(
                InvertedResidual(
                    channels,
                    stage.channels,
                    expansion=stage.expansion,
                    stride=stage.stride if index == 0 else 1,
                    act=act,
                )
            )
            channels = stage.channels
        layers.append(nn.Sequential(*blocks))
    return nn.ModuleList(layers)


class InvertedTrunk(nn.Module):
    """Stem of stride 2, then the stages `layers.0` onwards; returns the output of every stage."""

    def __init__(self, stem_channels: int, stages: tuple[InvertedStage, ...]) -> None:
        super().__init__()
        self.stem = ConvNorm(3, stem_channels, 3, stride=2, act=nn.ReLU6)
        self.layers = inverted_stages(stem_channels, stages, act=nn.ReLU6)

    def forward(self, images_B3HW: Tensor) -> tuple[Tensor, ...]:
        x = self.stem(images_B3HW)
        outputs = []
        for layer in self.layers:
            x = layer(x)
            outputs.append(x)
        return tuple(outputs)
