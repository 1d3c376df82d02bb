"""STDC-Seg: a trunk of short-term dense concatenations under BiSeNetV1's context path.

Fan et al., "Rethinking BiSeNet For Real-time Semantic Segmentation", CVPR 2021. The details that
BiSeNetV1 has a path for are taught to the trunk by a head that exists in training only. Legend: B
batch, C classes, H W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from artoolkit.networks.bisenetv1 import ContextPath, GatedFusion
from artoolkit.networks.blocks import ConvNorm, ScoreHead
from artoolkit.networks.layouts import Layout, State
from artoolkit.networks.network import Network, Outputs


class DenseConcatenation(nn.Module):
    """A 1x1 and three 3x3 convolutions, each on the one before; all four beside each other."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__()
        half, quarter, eighth = (out_channels // share for share in (2, 4, 8))
        self.layers = nn.ModuleList(
            [
                ConvNorm(in_channels, half),
                ConvNorm(half, quarter, 3),
                ConvNorm(quarter, eighth, 3),
                ConvNorm(eighth, eighth, 3),
            ]
        )
        reduces = stride == 2
        self.downsample = (
            ConvNorm(half, half, 3, stride=2, groups=half, act=None) if reduces else nn.Identity()
        )
        self.pool = nn.AvgPool2d(3, 2, 1) if reduces else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        first = self.layers[0](x)
        parts, x = [self.pool(first)], self.downsample(first)
        for layer in self.layers[1:]:
            x = layer(x)
            parts.append(x)
        return torch.cat(parts, 1)


class STDCTrunk(nn.Module):
    """Two convolutions of stride 2, then a stage a depth; returns the output of every stage."""

    def __init__(
        self, stem_channels: tuple[int, int], channels: tuple[int, ...], depths: tuple[int, ...]
    ) -> None:
        super().__init__()
        first, second = stem_channels
        self.stages = nn.ModuleList(
            [ConvNorm(3, first, 3, stride=2), ConvNorm(first, second, 3, stride=2)]
        )
        before = second
        for count, depth in zip(channels, depths, strict=True):
            reducing = DenseConcatenation(before, count, stride=2)
            self.stages.append(
                nn.Sequential(
                    reducing, *(DenseConcatenation(count, count) for _ in range(depth - 1))
                )
            )
            before = count

    def forward(self, x: Tensor) -> list[Tensor]:
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return outputs[2:]


class STDCSeg(Network):
    """B x 3 x H x W images -> B x C x ceil(H/8) x ceil(W/8) scores.

    In training also "aux_8" and "aux_16", the scores of the context at 1/8 and at 1/16, and
    "detail", B x 2, the logits of no border and of a border from the trunk at 1/8.
    """

    aux_weights = MappingProxyType({"aux_8": 1.0, "aux_16": 1.0})
    terms = MappingProxyType(
        {name: {"output": "detail"} for name in ("detail_cross_entropy", "detail_dice")}
    )
    training_only = ("aux_8.", "aux_16.", "detail.")
    align_corners = True
    output_stride = 8

    def __init__(
        self,
        num_classes: int,
        *,
        trunk: STDCTrunk,
        trunk_channels: tuple[int, int, int],
        context_channels: int,
        fused_channels: int,
        gate_channels: int,
        aux_channels: int,
    ) -> None:
        super().__init__(num_classes)
        at_8, at_16, at_32 = trunk_channels
        self.trunk = trunk
        self.context = ContextPath(at_16, at_32, context_channels)
        self.fusion = GatedFusion(
            at_8 + context_channels,
            fused_channels,
            nn.Sequential(
                nn.Conv2d(fused_channels, gate_channels, 1, bias=False),
                nn.ReLU(),
                nn.Conv2d(gate_channels, fused_channels, 1, bias=False),
            ),
        )
        self.head = ScoreHead(fused_channels, fused_channels, num_classes)
        self.aux_8 = ScoreHead(context_channels, aux_channels, num_classes)
        self.aux_16 = ScoreHead(context_channels, aux_channels, num_classes)
        self.detail = ScoreHead(at_8, aux_channels, 2)
        self.initialise()

    def forward(self, images_B3HW: Tensor) -> Tensor | Outputs:
        self.check_size(images_B3HW)
        at_8, at_16, at_32 = self.trunk(images_B3HW)
        context_8, context_16 = self.context(at_8, at_16, at_32)
        scores: Tensor = self.head(self.fusion(at_8, context_8))
        if not self.training:
            return scores
        return {
            "main": scores,
            "aux_8": self.aux_8(context_8),
            "aux_16": self.aux_16(context_16),
            "detail": self.detail(at_8),
        }


def _without_kernels(state: Mapping[str, Tensor]) -> State:
    """The detail head's two constants are left out: the loss makes its own labels."""
    return {key: value for key, value in state.items() if not key.endswith("_kernel")}


MMSEG = Layout(
    "mmsegmentation, STDC",
    (r"^backbone\.arms\.", r"^backbone\.backbone\.stages\."),
    (
        (r"^backbone\.backbone\.", "trunk."),
        (r"^backbone\.(arms|convs|conv_avg)\.", r"context.\1."),
        (r"^(context\.arms\.\d)\.conv_layer\.", r"\1.conv."),
        (r"^(context\.arms\.\d)\.atten_conv_layer\.1\.", r"\1.gate."),
        (r"^backbone\.ffm\.conv0\.", "fusion.project."),
        (r"^backbone\.ffm\.attention\.1\.conv\.", "fusion.gate.0."),
        (r"^backbone\.ffm\.attention\.2\.conv\.", "fusion.gate.2."),
        (r"^decode_head\.", "head."),
        (r"^auxiliary_head\.0\.", "aux_8."),
        (r"^auxiliary_head\.1\.", "aux_16."),
        (r"^auxiliary_head\.2\.", "detail."),
        (r"^(head|aux_8|aux_16|detail)\.convs\.0\.", r"\1.conv."),
        (r"^(head|aux_8|aux_16|detail)\.conv_seg\.", r"\1.classifier."),
        (r"\.bn\.", ".norm."),
    ),
    prepare=_without_kernels,
)

TRUNK = MMSEG.trunk(r"^stages\.2\.0\.layers\.0\.", inside="backbone.backbone.")
