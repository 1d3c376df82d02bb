"""PIDNet: three branches that keep details, gather context and find borders.

Xu et al., "PIDNet: A Real-Time Semantic Segmentation Network Inspired by PID Controllers", CVPR
2023, as mmsegmentation and its authors publish it. P keeps 1/8 of the image's size, I goes down to
1/64, D stays at 1/8 and learns where classes meet. Legend: B batch, C classes, H W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional

from artoolkit.networks.blocks import (
    BasicBlock,
    ConvNorm,
    LinearBottleneck,
    NormConv,
    PreActivationHead,
    basic_stage,
    resize,
)
from artoolkit.networks.layouts import DUAL_BLOCKS, DUAL_MMSEG, Layout, without_stem_bias
from artoolkit.networks.network import Network, Outputs
from artoolkit.networks.pooling import DeepPyramid


@dataclass(frozen=True, kw_only=True)
class PIDShape:
    """Widths and depths; `large` has the other D branch, pyramid and fusion of PIDNet-L."""

    channels: int
    shallow: int
    deep: int
    pyramid_channels: int
    head_channels: int
    large: bool = False


class AttentionGuide(nn.Module):
    """Lets the context i into the details p where their embeddings agree (Pag)."""

    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__()
        self.f_p = ConvNorm(channels, embedding, act=None)
        self.f_i = ConvNorm(channels, embedding, act=None)

    def forward(self, p: Tensor, i: Tensor) -> Tensor:
        size_hw = (p.shape[-2], p.shape[-1])
        embedded = resize(self.f_i(i), size_hw, align_corners=False)
        share = torch.sigmoid((self.f_p(p) * embedded).sum(1, keepdim=True))
        return share * resize(i, size_hw, align_corners=False) + (1 - share) * p


class LightFusion(nn.Module):
    """p, i weighted against each other by the borders d, each projected (PIDNet-S and -M)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.f_p = ConvNorm(channels, channels, act=None)
        self.f_i = ConvNorm(channels, channels, act=None)

    def forward(self, p: Tensor, i: Tensor, d: Tensor) -> Tensor:
        share = torch.sigmoid(d)
        out: Tensor = self.f_p((1 - share) * i + p) + self.f_i(i + share * p)
        return out


class Fusion(nn.Module):
    """p where there is a border, i elsewhere, then one 3x3 convolution (PIDNet-L)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = NormConv(channels, channels, 3)

    def forward(self, p: Tensor, i: Tensor, d: Tensor) -> Tensor:
        share = torch.sigmoid(d)
        out: Tensor = self.conv(share * p + (1 - share) * i)
        return out


class PIDTrunk(nn.Module):
    """Images -> the fused feature, and P and D as the training heads see them, all at 1/8.

    Where a side is no multiple of 8, what the public code cannot do, D and I are brought to the
    size of P.
    """

    def __init__(self, shape: PIDShape) -> None:
        super().__init__()
        c, shallow, deep = shape.channels, shape.shallow, shape.deep
        border = 2 * c if shape.large else c
        self.stem = nn.Sequential(
            ConvNorm(3, c, 3, stride=2),
            ConvNorm(c, c, 3, stride=2),
            basic_stage(c, c, shallow),
            nn.ReLU(),
            basic_stage(c, 2 * c, shallow, stride=2),
            nn.ReLU(),
        )
        self.i_branch_layers = nn.ModuleList(
            [
                basic_stage(2 * c, 4 * c, deep, stride=2),
                basic_stage(4 * c, 8 * c, deep, stride=2),
                nn.Sequential(
                    LinearBottleneck(8 * c, 8 * c, stride=2), LinearBottleneck(16 * c, 8 * c)
                ),
            ]
        )
        self.p_branch_layers = nn.ModuleList(
            [
                basic_stage(2 * c, 2 * c, shallow),
                basic_stage(2 * c, 2 * c, shallow),
                nn.Sequential(LinearBottleneck(2 * c, 2 * c)),
            ]
        )
        self.d_branch_layers = nn.ModuleList(
            [
                BasicBlock(2 * c, border, stride_first=True, rectified=False),
                BasicBlock(2 * c, 2 * c, stride_first=True, rectified=False)
                if shape.large
                else nn.Sequential(LinearBottleneck(c, c)),
                nn.Sequential(LinearBottleneck(2 * c, 2 * c)),
            ]
        )
        self.compression_1 = ConvNorm(4 * c, 2 * c, act=None)
        self.compression_2 = ConvNorm(8 * c, 2 * c, act=None)
        self.diff_1 = ConvNorm(4 * c, border, 3, act=None)
        self.diff_2 = ConvNorm(8 * c, 2 * c, 3, act=None)
        self.pag_1 = AttentionGuide(2 * c, c)
        self.pag_2 = AttentionGuide(2 * c, c)
        self.spp = DeepPyramid(16 * c, shape.pyramid_channels, 4 * c, parallel=not shape.large)
        self.dfm = Fusion(4 * c) if shape.large else LightFusion(4 * c)

    def forward(self, images_B3HW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.stem(images_B3HW)
        size_hw = (x.shape[-2], x.shape[-1])
        relu = functional.relu
        i = relu(self.i_branch_layers[0](x))
        p = self.pag_1(self.p_branch_layers[0](x), self.compression_1(i))
        d = self.d_branch_layers[0](x) + resize(self.diff_1(i), size_hw, align_corners=False)
        details = p
        i = relu(self.i_branch_layers[1](i))
        p = self.pag_2(self.p_branch_layers[1](relu(p)), self.compression_2(i))
        d = self.d_branch_layers[1](relu(d)) + resize(self.diff_2(i), size_hw, align_corners=False)
        borders = d
        p, d = self.p_branch_layers[2](relu(p)), self.d_branch_layers[2](relu(d))
        i = resize(self.spp(self.i_branch_layers[2](i)), size_hw, align_corners=False)
        return self.dfm(p, i, d), details, borders


class PIDNet(Network):
    """B x 3 x H x W images -> B x C x ceil(H/8) x ceil(W/8) scores.

    In training also "aux_p", the scores of the P branch, and "boundary", B x 1, the logit of a
    border between classes from the D branch. Two terms of the loss read it, with the published
    weights 20 and 1.
    """

    aux_weights = MappingProxyType({"aux_p": 0.4})
    terms = MappingProxyType(
        {
            "boundary_cross_entropy": {"output": "boundary", "weight": 20.0},
            "border_cross_entropy": {
                "output": "main",
                "options": {"ohem": {"threshold": 0.9, "min_kept": 131072}, "mean_over": "kept"},
            },
        }
    )
    training_only = ("aux_p.", "boundary.")
    # Published ImageNet weights are without the D branch.
    encoder = ("trunk.stem.", "trunk.i_branch_layers.", "trunk.p_branch_layers.")
    align_corners = True
    output_stride = 8

    def __init__(self, num_classes: int, shape: PIDShape) -> None:
        super().__init__(num_classes)
        c = shape.channels
        self.trunk = PIDTrunk(shape)
        self.head = PreActivationHead(4 * c, shape.head_channels, num_classes, dropout=0.1)
        self.aux_p = PreActivationHead(2 * c, shape.head_channels, num_classes)
        self.boundary = PreActivationHead(2 * c, c, 1)
        self.initialise()

    def forward(self, images_B3HW: Tensor) -> Tensor | Outputs:
        self.check_size(images_B3HW)
        fused, details, borders = self.trunk(images_B3HW)
        scores: Tensor = self.head(fused)
        if not self.training:
            return scores
        return {"main": scores, "aux_p": self.aux_p(details), "boundary": self.boundary(borders)}


MMSEG = Layout(
    "mmsegmentation, PIDNet",
    (r"^backbone\.i_branch_layers\.",),
    (
        *DUAL_MMSEG,
        (r"^decode_head\.i_head\.", "head."),
        (r"^decode_head\.p_head\.", "aux_p."),
        (r"^decode_head\.p_cls_seg\.", "aux_p.classifier."),
        (r"^decode_head\.d_head\.", "boundary."),
        (r"^decode_head\.d_cls_seg\.", "boundary.classifier."),
    ),
)

TRUNK = MMSEG.trunk(r"^i_branch_layers\.")

AUTHORS = Layout(
    "XuJiacong/PIDNet",
    (r"^(model\.)?layer3_d\.", r"^(model\.)?final_layer\.conv2\.weight$"),
    (
        *DUAL_BLOCKS,
        (r"^layer([345])\.", lambda m: f"trunk.i_branch_layers.{int(m[1]) - 3}."),
        (r"^layer([345])_\.", lambda m: f"trunk.p_branch_layers.{int(m[1]) - 3}."),
        (r"^layer([345])_d\.", lambda m: f"trunk.d_branch_layers.{int(m[1]) - 3}."),
        (r"^pag([34])\.f_x\.", lambda m: f"trunk.pag_{int(m[1]) - 2}.f_p."),
        (r"^pag([34])\.f_y\.", lambda m: f"trunk.pag_{int(m[1]) - 2}.f_i."),
        (r"^diff([34])\.", lambda m: f"trunk.diff_{int(m[1]) - 2}."),
        (r"^(trunk\.pag_\d\.f_\w|trunk\.diff_\d)\.0\.", r"\1.conv."),
        (r"^(trunk\.pag_\d\.f_\w|trunk\.diff_\d)\.1\.", r"\1.norm."),
        (r"^dfm\.conv_([pi])\.0\.", r"trunk.dfm.f_\1.conv."),
        (r"^dfm\.conv_([pi])\.1\.", r"trunk.dfm.f_\1.norm."),
        (r"^dfm\.conv\.0\.", "trunk.dfm.conv.norm."),
        (r"^dfm\.conv\.2\.", "trunk.dfm.conv.conv."),
        (r"^seghead_p\.", "aux_p."),
        (r"^seghead_d\.", "boundary."),
    ),
    prepare=without_stem_bias,
)
