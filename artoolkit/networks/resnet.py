"""The residual trunk, written once: Caffe's half-width one, torchvision's, and both deep stems.

`TrunkShape` holds every difference between them; the numbers stand in `families.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from artoolkit.networks.blocks import BasicBlock, Bottleneck, ConvNorm


@dataclass(frozen=True, kw_only=True)
class TrunkShape:
    """Everything that tells one residual trunk from another.

    `stem` lists the channels of its 3x3 convolutions (the first of stride 2); a single number is
    one 7x7 convolution. `contract` gives the first block of a dilated stage half its dilation
    (mmsegmentation's way).
    """

    block: type[Bottleneck | BasicBlock] = Bottleneck
    stem: tuple[int, ...] = (64,)
    widths: tuple[int, ...] = (64, 128, 256, 512)
    depths: tuple[int, ...] = (3, 4, 6, 3)
    strides: tuple[int, ...] = (1, 2, 2, 2)
    dilations: tuple[int, ...] = (1, 1, 1, 1)
    contract: bool = False
    stride_first: bool = False
    ceil_mode: bool = False

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels after each of the stages."""
        return tuple(width * self.block.expansion for width in self.widths)


def _stem(channels: tuple[int, ...]) -> nn.Sequential:
    if len(channels) == 1:
        return nn.Sequential(ConvNorm(3, channels[0], 7, stride=2))
    inputs = (3, *channels)
    return nn.Sequential(
        *(
            ConvNorm(inputs[i], channels[i], 3, stride=2 if i == 0 else 1)
            for i in range(len(channels))
        )
    )


def _blocks(shape: TrunkShape, stage: int, in_channels: int) -> Iterator[nn.Module]:
    width, dilation = shape.widths[stage], shape.dilations[stage]
    for index in range(shape.depths[stage]):
        first = index == 0
        yield shape.block(
            in_channels,
            width,
            stride=shape.strides[stage] if first else 1,
            dilation=dilation // 2 if first and shape.contract and dilation > 1 else dilation,
            stride_first=shape.stride_first,
        )
        in_channels = width * shape.block.expansion


class ResidualTrunk(nn.Module):
    """Stem, 3x3 max-pool of stride 2, and the stages `layer1` to `layer4`.

    A network that branches inside calls the parts; `forward` returns the output of every stage.
    """

    def __init__(self, shape: TrunkShape) -> None:
        super().__init__()
        self.stem = _stem(shape.stem)
        self.pool = nn.MaxPool2d(3, 2, 1, ceil_mode=shape.ceil_mode)
        inputs = (shape.stem[-1], *shape.channels)
        self.layer1 = nn.Sequential(*_blocks(shape, 0, inputs[0]))
        self.layer2 = nn.Sequential(*_blocks(shape, 1, inputs[1]))
        self.layer3 = nn.Sequential(*_blocks(shape, 2, inputs[2]))
        self.layer4 = nn.Sequential(*_blocks(shape, 3, inputs[3]))

    def forward(self, images_B3HW: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        first = self.layer1(self.pool(self.stem(images_B3HW)))
        second = self.layer2(first)
        third = self.layer3(second)
        return first, second, third, self.layer4(third)
