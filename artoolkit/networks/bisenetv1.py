"""BiSeNetV1: a shallow path for details, a pre-trained trunk with attention for context.

Yu et al., "BiSeNet: Bilateral Segmentation Network for Real-time Semantic Segmentation", ECCV 2018,
on ResNet-18. STDC takes its context path and its fusion. Legend: B batch, C classes, H W pixels.
"""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional

from artoolkit.networks.blocks import ConvNorm, ScoreHead, global_mean
from artoolkit.networks.layouts import RESIDUAL, Layout, Rules
from artoolkit.networks.network import Network, Outputs
from artoolkit.networks.resnet import ResidualTrunk


class AttentionRefinement(nn.Module):
    """3x3 convolution, its channels weighted by what their mean says."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv = ConvNorm(in_channels, channels, 3)
        self.gate = ConvNorm(channels, channels, act=None)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        out: Tensor = y * torch.sigmoid(self.gate(global_mean(y)))
        return out


class ContextPath(nn.Module):
    """Features at 1/16 and 1/32 -> context at 1/8 and at 1/16, enlarged by nearest neighbours."""

    def __init__(self, channels_16: int, channels_32: int, channels: int) -> None:
        super().__init__()
        self.arms = nn.ModuleList(
            AttentionRefinement(count, channels) for count in (channels_32, channels_16)
        )
        self.convs = nn.ModuleList(ConvNorm(channels, channels, 3) for _ in self.arms)
        self.conv_avg = ConvNorm(channels_32, channels)

    def forward(self, at_8: Tensor, at_16: Tensor, at_32: Tensor) -> tuple[Tensor, Tensor]:
        """`at_8` gives its size only."""
        coarse = self.arms[0](at_32) + self.conv_avg(global_mean(at_32))
        context_16 = self.convs[0](_nearest(coarse, at_16))
        context_8 = self.convs[1](_nearest(self.arms[1](at_16) + context_16, at_8))
        return context_8, context_16


def _nearest(x: Tensor, like: Tensor) -> Tensor:
    return functional.interpolate(x, (like.shape[-2], like.shape[-1]), mode="nearest")


class GatedFusion(nn.Module):
    """Details and context projected together; `gate` says from their mean what is doubled."""

    def __init__(self, in_channels: int, channels: int, gate: nn.Module) -> None:
        super().__init__()
        self.project = ConvNorm(in_channels, channels)
        self.gate = gate

    def forward(self, details: Tensor, context: Tensor) -> Tensor:
        y = self.project(torch.cat([details, context], 1))
        out: Tensor = y + y * torch.sigmoid(self.gate(global_mean(y)))
        return out


class BiSeNetV1(Network):
    """B x 3 x H x W images -> B x C x ceil(H/8) x ceil(W/8) scores.

    In training also "aux_8" and "aux_16", the scores of the context at 1/8 and at 1/16.
    """

    aux_weights = MappingProxyType({"aux_8": 1.0, "aux_16": 1.0})
    training_only = ("aux_8.", "aux_16.")
    align_corners = False
    output_stride = 8

    def __init__(
        self,
        num_classes: int,
        *,
        trunk: ResidualTrunk,
        trunk_channels: tuple[int, ...],
        spatial_channels: int,
        context_channels: int,
        fused_channels: int,
        aux_channels: int,
        gate_act: type[nn.ReLU] | None,
    ) -> None:
        super().__init__(num_classes)
        c, context = spatial_channels, context_channels
        self.trunk = trunk
        self.spatial = nn.Sequential(
            ConvNorm(3, c, 7, stride=2),
            ConvNorm(c, c, 3, stride=2),
            ConvNorm(c, c, 3, stride=2),
            ConvNorm(c, context),
        )
        self.context = ContextPath(trunk_channels[2], trunk_channels[3], context)
        self.fusion = GatedFusion(
            2 * context, fused_channels, ConvNorm(fused_channels, fused_channels, act=gate_act)
        )
        self.head = ScoreHead(fused_channels, fused_channels, num_classes)
        self.aux_8 = ScoreHead(context, aux_channels, num_classes)
        self.aux_16 = ScoreHead(context, aux_channels, num_classes)
        self.initialise()

    def forward(self, images_B3HW: Tensor) -> Tensor | Outputs:
        self.check_size(images_B3HW)
        _, at_8, at_16, at_32 = self.trunk(images_B3HW)
        context_8, context_16 = self.context(at_8, at_16, at_32)
        scores: Tensor = self.head(self.fusion(self.spatial(images_B3HW), context_8))
        if not self.training:
            return scores
        return {"main": scores, "aux_8": self.aux_8(context_8), "aux_16": self.aux_16(context_16)}


_PARTS: Rules = (
    *RESIDUAL,
    (r"^trunk\.conv1\.", "trunk.stem.0.conv."),
    (r"^trunk\.bn1\.", "trunk.stem.0.norm."),
    (r"\.bn\.", ".norm."),
)

MMSEG = Layout(
    "mmsegmentation, BiSeNetV1",
    (r"^backbone\.spatial_path\.",),
    (
        (r"^backbone\.context_path\.backbone\.", "trunk."),
        *_PARTS,
        (r"^backbone\.spatial_path\.layer(\d)\.", lambda m: f"spatial.{int(m[1]) - 1}."),
        (r"^backbone\.context_path\.(arm|conv_head)32\.", r"context.\1.0."),
        (r"^backbone\.context_path\.(arm|conv_head)16\.", r"context.\1.1."),
        (r"^backbone\.context_path\.gap_conv\.1\.", "context.conv_avg."),
        (r"^context\.arm\.", "context.arms."),
        (r"^context\.conv_head\.", "context.convs."),
        (r"^(context\.arms\.\d)\.conv_layer\.", r"\1.conv."),
        (r"^(context\.arms\.\d)\.atten_conv_layer\.1\.", r"\1.gate."),
        (r"^backbone\.ffm\.conv1\.", "fusion.project."),
        (r"^backbone\.ffm\.conv_atten\.0\.", "fusion.gate."),
        (r"^decode_head\.convs\.0\.", "head.conv."),
        (r"^decode_head\.conv_seg\.", "head.classifier."),
        (r"^auxiliary_head\.(\d)\.convs\.0\.", r"aux.\1.conv."),
        (r"^auxiliary_head\.(\d)\.conv_seg\.", r"aux.\1.classifier."),
        (r"^aux\.0\.", "aux_8."),
        (r"^aux\.1\.", "aux_16."),
    ),
)

COINCHEUNG = Layout(
    "CoinCheung/BiSeNet, V1",
    (r"^cp\.resnet\.", r"^sp\.conv_out\.", r"^conv_out\.conv_out\."),
    (
        (r"^cp\.resnet\.", "trunk."),
        *_PARTS,
        (r"^sp\.conv(\d)\.", lambda m: f"spatial.{int(m[1]) - 1}."),
        (r"^sp\.conv_out\.", "spatial.3."),
        (r"^cp\.(arm|conv_head)32\.", r"context.\1.0."),
        (r"^cp\.(arm|conv_head)16\.", r"context.\1.1."),
        (r"^cp\.conv_avg\.", "context.conv_avg."),
        (r"^context\.arm\.(\d)\.conv_atten\.", r"context.arms.\1.gate.conv."),
        (r"^context\.arm\.(\d)\.bn_atten\.", r"context.arms.\1.gate.norm."),
        (r"^context\.arm\.", "context.arms."),
        (r"^context\.conv_head\.", "context.convs."),
        (r"^ffm\.convblk\.", "fusion.project."),
        (r"^ffm\.conv\.", "fusion.gate.conv."),
        (r"^ffm\.norm\.", "fusion.gate.norm."),
        (r"^conv_out\.", "head."),
        (r"^conv_out16\.", "aux_8."),
        (r"^conv_out32\.", "aux_16."),
        (r"^(head|aux_8|aux_16)\.conv_out\.", r"\1.classifier."),
    ),
)
