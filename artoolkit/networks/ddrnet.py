"""DDRNet: a context and a detail branch that exchange what they know at two depths.

Hong et al., "Deep Dual-resolution Networks for Real-time and Accurate Semantic Segmentation of Road
Scenes", 2021, as mmsegmentation and its authors publish it. Legend: B batch, C classes, H W pixels.
"""

from __future__ import annotations

from types import MappingProxyType

from torch import Tensor, nn
from torch.nn import functional

from artoolkit.networks.blocks import (
    ConvNorm,
    LinearBottleneck,
    PreActivationHead,
    basic_stage,
    resize,
)
from artoolkit.networks.layouts import DUAL_BLOCKS, DUAL_MMSEG, Layout, without_stem_bias
from artoolkit.networks.network import Network, Outputs
from artoolkit.networks.pooling import DeepPyramid


class DualTrunk(nn.Module):
    """Images -> the last feature, and the spatial branch after its first exchange, both at 1/8.

    Where a side is no multiple of 8, what the public code cannot do, the context is brought to the
    size of the spatial branch.
    """

    def __init__(self, c: int, pyramid_channels: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            ConvNorm(3, c, 3, stride=2),
            ConvNorm(c, c, 3, stride=2),
            basic_stage(c, c, 2),
            nn.ReLU(),
            basic_stage(c, 2 * c, 2, stride=2),
            nn.ReLU(),
        )
        self.context_branch_layers = nn.ModuleList(
            [
                basic_stage(2 * c, 4 * c, 2, stride=2),
                basic_stage(4 * c, 8 * c, 2, stride=2),
                nn.Sequential(LinearBottleneck(8 * c, 8 * c, stride=2)),
            ]
        )
        self.spatial_branch_layers = nn.ModuleList(
            [
                basic_stage(2 * c, 2 * c, 2),
                basic_stage(2 * c, 2 * c, 2),
                nn.Sequential(LinearBottleneck(2 * c, 2 * c)),
            ]
        )
        self.compression_1 = ConvNorm(4 * c, 2 * c, act=None)
        self.compression_2 = ConvNorm(8 * c, 2 * c, act=None)
        self.down_1 = ConvNorm(2 * c, 4 * c, 3, stride=2, act=None)
        self.down_2 = nn.Sequential(
            ConvNorm(2 * c, 4 * c, 3, stride=2), ConvNorm(4 * c, 8 * c, 3, stride=2, act=None)
        )
        self.spp = DeepPyramid(16 * c, pyramid_channels, 4 * c, parallel=False)

    def forward(self, images_B3HW: Tensor) -> tuple[Tensor, Tensor]:
        relu = functional.relu
        x = self.stem(images_B3HW)
        size_hw = (x.shape[-2], x.shape[-1])
        context, spatial = x, x
        after_exchange = []
        exchanges = ((self.compression_1, self.down_1), (self.compression_2, self.down_2))
        for index, (compression, down) in enumerate(exchanges):
            context = self.context_branch_layers[index](context)
            spatial = self.spatial_branch_layers[index](spatial)
            # Both read what the other was before the exchange.
            lifted = resize(compression(relu(context)), size_hw, align_corners=False)
            context = relu(context + down(relu(spatial)))
            after_exchange.append(spatial + lifted)
            spatial = relu(after_exchange[-1])
        context = self.spp(self.context_branch_layers[2](context))
        lifted = resize(context, size_hw, align_corners=False)
        return self.spatial_branch_layers[2](spatial) + lifted, after_exchange[0]


class DDRNet(Network):
    """B x 3 x H x W images -> B x C x ceil(H/8) x ceil(W/8) scores.

    In training also "aux_8", the scores of the spatial branch after its first exchange.
    """

    aux_weights = MappingProxyType({"aux_8": 0.4})
    training_only = ("aux_8.",)
    encoder = ("trunk.stem.", "trunk.context_branch_layers.", "trunk.spatial_branch_layers.")
    align_corners = False
    output_stride = 8

    def __init__(
        self, num_classes: int, *, channels: int, pyramid_channels: int, head_channels: int
    ) -> None:
        super().__init__(num_classes)
        self.trunk = DualTrunk(channels, pyramid_channels)
        self.head = PreActivationHead(4 * channels, head_channels, num_classes)
        self.aux_8 = PreActivationHead(2 * channels, head_channels, num_classes)
        self.initialise()

    def forward(self, images_B3HW: Tensor) -> Tensor | Outputs:
        self.check_size(images_B3HW)
        fused, spatial = self.trunk(images_B3HW)
        scores: Tensor = self.head(fused)
        return {"main": scores, "aux_8": self.aux_8(spatial)} if self.training else scores


MMSEG = Layout(
    "mmsegmentation, DDRNet",
    (r"^backbone\.context_branch_layers\.",),
    (
        *DUAL_MMSEG,
        (r"^decode_head\.(head|aux_head)\.0\.", r"decode_head.\1.conv."),
        (r"^decode_head\.(head|aux_head)\.1\.", r"decode_head.\1.norm."),
        (r"^decode_head\.head\.", "head."),
        (r"^decode_head\.aux_head\.", "aux_8."),
        (r"^decode_head\.aux_cls_seg\.", "aux_8.classifier."),
    ),
)

TRUNK = MMSEG.trunk(r"^context_branch_layers\.")

AUTHORS = Layout(
    "ydhongHIT/DDRNet",
    (r"^(model\.)?down4\.0\.weight$", r"^(model\.)?final_layer\.conv2\.weight$"),
    (
        *DUAL_BLOCKS,
        (r"^layer([345])\.", lambda m: f"trunk.context_branch_layers.{int(m[1]) - 3}."),
        (r"^layer([345])_\.", lambda m: f"trunk.spatial_branch_layers.{int(m[1]) - 3}."),
        (r"^down3\.0\.", "trunk.down_1.conv."),
        (r"^down3\.1\.", "trunk.down_1.norm."),
        (r"^down4\.([03])\.", lambda m: f"trunk.down_2.{int(m[1]) // 3}.conv."),
        (r"^down4\.([14])\.", lambda m: f"trunk.down_2.{int(m[1]) // 3}.norm."),
        (r"^seghead_extra\.", "aux_8."),
    ),
    prepare=without_stem_bias,
)
