"""ICNet on a full residual trunk, as mmsegmentation builds and publishes it.

The same three branches as `icnet.py`, but the split comes after the trunk's second stage, the
pyramid concatenates, and every head has a 3x3 convolution of its own.
"""

from __future__ import annotations

from types import MappingProxyType

from torch import Tensor, nn
from torch.nn import functional

from artoolkit.networks.blocks import ConvNorm, ScoreHead, resize
from artoolkit.networks.icnet import CascadeFusion
from artoolkit.networks.network import Network, Outputs
from artoolkit.networks.pooling import PyramidConcat
from artoolkit.networks.resnet import ResidualTrunk


def _halved(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=0.5, mode="bilinear", align_corners=False)


class ICNetResidual(Network):
    """B x 3 x H x W images -> B x C x ceil(H/8) x ceil(W/8) scores.

    In training also "aux_16" and "aux_8": scores of the projected coarser features.
    """

    aux_weights = MappingProxyType({"aux_16": 0.4, "aux_8": 0.4})
    training_only = ("aux_16.", "aux_8.")
    align_corners = False
    output_stride = 8

    def __init__(
        self,
        num_classes: int,
        *,
        trunk: ResidualTrunk,
        trunk_channels: tuple[int, ...],
        pyramid: PyramidConcat,
        context_channels: int,
        branch_channels: int,
        high_channels: tuple[int, int, int],
        fused_channels: int,
    ) -> None:
        super().__init__(num_classes)
        inputs = (3, *high_channels)
        self.trunk = trunk
        self.pyramid = pyramid
        self.context = ConvNorm(pyramid.out_channels, context_channels, 3)
        self.low = ConvNorm(context_channels, branch_channels)
        self.middle = ConvNorm(trunk_channels[1], branch_channels)
        self.high = nn.Sequential(
            *(ConvNorm(inputs[i], high_channels[i], 3, stride=2) for i in range(3))
        )
        self.fuse_16 = CascadeFusion(
            branch_channels, branch_channels, fused_channels, rectified=True
        )
        self.fuse_8 = CascadeFusion(
            fused_channels, high_channels[-1], fused_channels, rectified=True
        )
        self.head = ScoreHead(fused_channels, fused_channels, num_classes)
        self.aux_16 = ScoreHead(fused_channels, fused_channels, num_classes)
        self.aux_8 = ScoreHead(fused_channels, fused_channels, num_classes)
        self.initialise()

    def forward(self, images_B3HW: Tensor) -> Tensor | Outputs:
        self.check_size(images_B3HW)
        trunk = self.trunk
        split = trunk.layer2(trunk.layer1(trunk.pool(trunk.stem(_halved(images_B3HW)))))
        deep = trunk.layer4(trunk.layer3(_halved(split)))
        low = self.low(self.context(self.pyramid(deep)))
        middle, high = self.middle(split), self.high(images_B3HW)
        low = resize(low, (middle.shape[-2], middle.shape[-1]), align_corners=False)
        fused_16, low_16 = self.fuse_16(low, middle)
        low = resize(fused_16, (high.shape[-2], high.shape[-1]), align_corners=False)
        fused_8, low_8 = self.fuse_8(low, high)
        scores: Tensor = self.head(fused_8)
        if not self.training:
            return scores
        return {"main": scores, "aux_16": self.aux_16(low_16), "aux_8": self.aux_8(low_8)}
