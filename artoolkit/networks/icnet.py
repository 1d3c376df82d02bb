"""ICNet as published: three branches of one image, fused from coarse to fine.

Zhao et al., "ICNet for Real-Time Semantic Segmentation on High-Resolution Images", ECCV 2018, in
the shape of its Caffe release (compressed to half width): the trunk is shared and splits after the
first block of its second stage. Legend: B batch, C classes, H W pixels of the image.
"""

from __future__ import annotations

from types import MappingProxyType

from torch import Tensor, nn

from artoolkit.networks.blocks import ConvNorm, halved, resize
from artoolkit.networks.network import Network, Outputs
from artoolkit.networks.pooling import PyramidSum
from artoolkit.networks.resnet import ResidualTrunk


class CascadeFusion(nn.Module):
    """Adds the coarse and the fine feature, each projected, then ReLU.

    `rectified` puts a ReLU behind each projection too (mmsegmentation's way).
    """

    def __init__(
        self, low_channels: int, high_channels: int, channels: int, *, rectified: bool = False
    ) -> None:
        super().__init__()
        act = nn.ReLU if rectified else None
        self.low = ConvNorm(low_channels, channels, 3, dilation=2, act=act)
        self.high = ConvNorm(high_channels, channels, act=act)
        self.act = nn.ReLU(inplace=True)

    def forward(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """The sum, and the projected `low`, which is at the size of `high` already."""
        projected: Tensor = self.low(low)
        return self.act(projected + self.high(high)), projected


class ICNet(Network):
    """B x 3 x H x W images -> B x C x ceil(H/4) x ceil(W/4) scores.

    In training also "aux_16" and "aux_8", the scores of the upsampled coarser features at 1/16 and
    1/8, with the published loss weights. Classifying at 1/8 and resizing C planes to 1/4 is the
    published order (resize 128 planes, then classify) up to rounding: both are linear and the
    resize's weights sum to 1. It is done in training too, so that there is one function.
    """

    aux_weights = MappingProxyType({"aux_16": 0.16, "aux_8": 0.4})
    training_only = ("aux_16.", "aux_8.")
    align_corners = True
    output_stride = 4

    def __init__(
        self,
        num_classes: int,
        *,
        trunk: ResidualTrunk,
        trunk_channels: tuple[int, ...],
        high_channels: tuple[int, int, int],
        context_channels: int,
        fused_channels: int,
        pyramid: PyramidSum,
    ) -> None:
        super().__init__(num_classes)
        middle, low = trunk_channels[1], trunk_channels[-1]
        inputs = (3, *high_channels)
        self.trunk = trunk
        self.pyramid = pyramid
        self.context = ConvNorm(low, context_channels)
        self.high = nn.Sequential(
            *(ConvNorm(inputs[i], high_channels[i], 3, stride=2) for i in range(3))
        )
        self.fuse_16 = CascadeFusion(context_channels, middle, fused_channels)
        self.fuse_8 = CascadeFusion(fused_channels, high_channels[-1], fused_channels)
        self.classifier = nn.Conv2d(fused_channels, num_classes, 1)
        self.aux_16 = nn.Conv2d(context_channels, num_classes, 1)
        self.aux_8 = nn.Conv2d(fused_channels, num_classes, 1)
        self.initialise()

    def _coarse(self, images_B3HW: Tensor, size_hw: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """The middle branch (1/16 of the image) and the low branch's context (1/32)."""
        trunk = self.trunk
        half = resize(images_B3HW, halved(size_hw), align_corners=True)
        split, *rest = trunk.layer2
        middle: Tensor = split(trunk.layer1(trunk.pool(trunk.stem(half))))
        low = resize(middle, halved((middle.shape[-2], middle.shape[-1])), align_corners=True)
        for block in rest:
            low = block(low)
        low = trunk.layer4(trunk.layer3(low))
        return middle, self.context(self.pyramid(low))

    def forward(self, images_B3HW: Tensor) -> Tensor | Outputs:
        size_hw = self.check_size(images_B3HW)
        middle, low = self._coarse(images_B3HW, size_hw)
        low_16 = resize(low, (middle.shape[-2], middle.shape[-1]), align_corners=True)
        fused_16, _ = self.fuse_16(low_16, middle)
        high = self.high(images_B3HW)
        low_8 = resize(fused_16, (high.shape[-2], high.shape[-1]), align_corners=True)
        fused_8, _ = self.fuse_8(low_8, high)
        scores = resize(self.classifier(fused_8), halved(halved(size_hw)), align_corners=True)
        if not self.training:
            return scores
        return {"main": scores, "aux_16": self.aux_16(low_16), "aux_8": self.aux_8(low_8)}
