"""PSPNet: a dilated residual trunk, a pyramid of pooled context, one 3x3 convolution.

Zhao et al., "Pyramid Scene Parsing Network", CVPR 2017. Its two public code bases differ in the
stem, in the dilation of a stage's first block and in `align_corners`: the builder holds both.
"""

from __future__ import annotations

from types import MappingProxyType

from torch import Tensor

from artoolkit.networks.blocks import ScoreHead
from artoolkit.networks.network import Network, Outputs
from artoolkit.networks.pooling import PyramidConcat
from artoolkit.networks.resnet import ResidualTrunk


class PSPNet(Network):
    """B x 3 x H x W images -> B x C x ceil(H/8) x ceil(W/8) scores.

    In training also "aux_8", the scores of the trunk's third stage. With `align_corners` a side of
    8 k + 1 pixels puts every score exactly on a pixel.
    """

    aux_weights = MappingProxyType({"aux_8": 0.4})
    training_only = ("aux_8.",)
    output_stride = 8

    def __init__(
        self,
        num_classes: int,
        *,
        trunk: ResidualTrunk,
        trunk_channels: tuple[int, ...],
        pyramid: PyramidConcat,
        head_channels: int,
        aux_channels: int,
        align_corners: bool,
    ) -> None:
        super().__init__(num_classes)
        self.align_corners = align_corners
        self.trunk = trunk
        self.pyramid = pyramid
        self.head = ScoreHead(pyramid.out_channels, head_channels, num_classes)
        self.aux_8 = ScoreHead(trunk_channels[-2], aux_channels, num_classes)
        self.initialise()

    def forward(self, images_B3HW: Tensor) -> Tensor | Outputs:
        self.check_size(images_B3HW)
        *_, third, fourth = self.trunk(images_B3HW)
        scores: Tensor = self.head(self.pyramid(fourth))
        if not self.training:
            return scores
        return {"main": scores, "aux_8": self.aux_8(third)}
