"""The parts that several networks share: convolutions, residual blocks, score heads, resizing.

A stage of PIDNet or DDRNet leaves out the ReLU after its last sum: the network rectifies where its
branches need it.

With `stride_first` the first convolution of a block has its stride: Caffe's bottleneck and every
basic block. torchvision's bottleneck has it in the second, the 3x3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def resize(x: Tensor, size_hw: tuple[int, int], *, align_corners: bool) -> Tensor:
    """Bilinear resizing to `size_hw`; nothing where the size is right already."""
    if (x.shape[-2], x.shape[-1]) == tuple(size_hw):
        return x
    return functional.interpolate(x, size_hw, mode="bilinear", align_corners=align_corners)


def halved(size_hw: tuple[int, int]) -> tuple[int, int]:
    """Half the size, rounded up, as a convolution of stride 2 and padding 1 does to a 3x3 map."""
    return (size_hw[0] + 1) // 2, (size_hw[1] + 1) // 2


class GroupedConv(nn.Conv2d):
    """Convolution in groups, which learns in float32 on a CPU, whatever autocast says.

    oneDNN's backward pass of depthwise kernels takes 2 to 5 times as long in bfloat16 as in
    float32 (torch 2.13, one thread). Without gradients autocast decides, as for any other.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not (x.device.type == "cpu" and self.training and torch.is_grad_enabled()):
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.to(self.weight.dtype)).to(x.dtype)


class ConvNorm(nn.Module):
    """Convolution without bias, batch normalisation and, unless None, the activation `act`.

    Padding keeps the size at stride 1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        act: type[nn.ReLU | nn.ReLU6] | None = nn.ReLU,
    ) -> None:
        super().__init__()
        padding = dilation * (kernel // 2)
        self.conv = (nn.Conv2d if groups == 1 else GroupedConv)(
            in_channels,
            out_channels,
            kernel,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            bias=False,
        )
        self.norm = nn.BatchNorm2d(out_channels)
        self.act = act(inplace=True) if act else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act(self.norm(self.conv(x)))
        return out


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return ConvNorm(in_channels, out_channels, stride=stride, act=None)


class Bottleneck(nn.Module):
    """1x1 to `width`, 3x3, 1x1 to 4 x `width`, added to the shortcut, then ReLU."""

    expansion = 4
    rectified = True

    def __init__(
        self,
        in_channels: int,
        width: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        stride_first: bool = False,
    ) -> None:
        super().__init__()
        first, second = (stride, 1) if stride_first else (1, stride)
        self.conv1 = ConvNorm(in_channels, width, stride=first)
        self.conv2 = ConvNorm(width, width, 3, stride=second, dilation=dilation)
        self.conv3 = ConvNorm(width, self.expansion * width, act=None)
        self.shortcut = _shortcut(in_channels, self.expansion * width, stride)
        self.act = nn.ReLU(inplace=True) if self.rectified else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act(self.conv3(self.conv2(self.conv1(x))) + self.shortcut(x))
        return out


class LinearBottleneck(Bottleneck):
    """A bottleneck to 2 x `width`, without the ReLU after the sum (PIDNet, DDRNet)."""

    expansion = 2
    rectified = False


class BasicBlock(nn.Module):
    """Two 3x3 convolutions of `width`, added to the shortcut, then ReLU unless not `rectified`."""

    expansion = 1

    def __init__(
        self,
        in_channels: int,
        width: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        stride_first: bool = False,
        rectified: bool = True,
    ) -> None:
        super().__init__()
        first, second = (stride, 1) if stride_first else (1, stride)
        self.conv1 = ConvNorm(in_channels, width, 3, stride=first, dilation=dilation)
        self.conv2 = ConvNorm(width, width, 3, stride=second, act=None)
        self.shortcut = _shortcut(in_channels, width, stride)
        self.act = nn.ReLU(inplace=True) if rectified else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act(self.conv2(self.conv1(x)) + self.shortcut(x))
        return out


class ScoreHead(nn.Module):
    """3x3 convolution, dropout over whole channels, 1x1 classifier with bias."""

    def __init__(
        self, in_channels: int, channels: int, num_classes: int, *, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.conv = ConvNorm(in_channels, channels, 3)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(channels, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.classifier(self.dropout(self.conv(x)))
        return out


def basic_stage(in_channels: int, channels: int, depth: int, *, stride: int = 1) -> nn.Sequential:
    """`depth` basic blocks, the first of `stride`; no ReLU after the last sum."""
    return nn.Sequential(
        *(
            BasicBlock(
                in_channels if index == 0 else channels,
                channels,
                stride=stride if index == 0 else 1,
                stride_first=True,
                rectified=index < depth - 1,
            )
            for index in range(depth)
        )
    )


class NormConv(nn.Module):
    """Batch normalisation of the input, ReLU, convolution without bias; the size is kept."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 1, *, groups: int = 1
    ) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel, padding=kernel // 2, groups=groups, bias=False
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(functional.relu(self.norm(x)))
        return out


class PreActivationHead(nn.Module):
    """Norm, ReLU, 3x3 convolution, norm, ReLU, dropout of whole channels, 1x1 with bias."""

    def __init__(
        self, in_channels: int, channels: int, out_channels: int, *, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.conv = NormConv(in_channels, channels, 3)
        self.norm = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.classifier(self.dropout(functional.relu(self.norm(self.conv(x)))))
        return out


class Separable(nn.Sequential):
    """3x3 per channel and norm, then 1x1, norm and, unless None, `act`."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        act: type[nn.ReLU | nn.ReLU6] | None = nn.ReLU,
    ) -> None:
        super().__init__(
            ConvNorm(in_channels, in_channels, 3, stride=stride, groups=in_channels, act=None),
            ConvNorm(in_channels, out_channels, act=act),
        )


def global_mean(x: Tensor) -> Tensor:
    """B x C x h x w -> B x C x 1 x 1, the mean over all positions."""
    return x.mean((2, 3), keepdim=True)
