"""BiSeNetV2: a wide shallow branch for details, a narrow deep one for context, both from scratch.

Yu et al., "BiSeNet V2: Bilateral Network with Guided Aggregation for Real-time Semantic
Segmentation", 2020. mmsegmentation enlarges inside by bilinear, CoinCheung's code by nearest
neighbours: two functions. Legend: B batch, C classes, H W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from artoolkit.networks.blocks import ConvNorm, ScoreHead, Separable, global_mean
from artoolkit.networks.layouts import Layout
from artoolkit.networks.network import Network, Outputs

Resizing = Literal["bilinear", "nearest"]
EXPANSION = 6
STRIDES = (4, 8, 16, 32)


class SemanticStem(nn.Module):
    """1/4 of the image: a convolution, then convolutions beside a max-pool."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_first = ConvNorm(3, channels, 3, stride=2)
        self.convs = nn.Sequential(
            ConvNorm(channels, channels // 2), ConvNorm(channels // 2, channels, 3, stride=2)
        )
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.fuse_last = ConvNorm(2 * channels, channels, 3)

    def forward(self, images_B3HW: Tensor) -> Tensor:
        x = self.conv_first(images_B3HW)
        out: Tensor = self.fuse_last(torch.cat([self.convs(x), self.pool(x)], 1))
        return out


class GatherExpand(nn.Module):
    """3x3, depthwise to six times the channels, 1x1; added to the input or its reduction, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__()
        wide = in_channels * EXPANSION
        self.conv1 = ConvNorm(in_channels, in_channels, 3)
        if stride == 1:
            self.dwconv = nn.Sequential(ConvNorm(in_channels, wide, 3, groups=in_channels))
            self.shortcut: nn.Module = nn.Identity()
        else:
            self.dwconv = nn.Sequential(
                ConvNorm(in_channels, wide, 3, stride=stride, groups=in_channels, act=None),
                ConvNorm(wide, wide, 3, groups=wide),
            )
            self.shortcut = Separable(in_channels, out_channels, stride=stride, act=None)
        self.conv2 = ConvNorm(wide, out_channels, act=None)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.conv2(self.dwconv(self.conv1(x))) + self.shortcut(x))


class ContextEmbedding(nn.Module):
    """x plus what its mean says, then one 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.conv_gap = ConvNorm(channels, channels)
        self.conv_last = ConvNorm(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv_last(x + self.conv_gap(self.norm(global_mean(x))))
        return out


class GuidedAggregation(nn.Module):
    """Details (1/8) and context (1/32), each weighted by the other at both sizes."""

    def __init__(self, channels: int, resizing: Resizing) -> None:
        super().__init__()
        self.resizing = resizing
        bias = resizing == "bilinear"  # CoinCheung's two pointwise convolutions have none
        self.detail_dwconv = _depthwise(channels, bias)
        self.detail_down = ConvNorm(channels, channels, 3, stride=2, act=None)
        self.pool = nn.AvgPool2d(3, 2, 1)
        self.semantic_conv = ConvNorm(channels, channels, 3, act=None)
        self.semantic_dwconv = _depthwise(channels, bias)
        self.conv = ConvNorm(channels, channels, 3)

    def forward(self, details: Tensor, context: Tensor) -> Tensor:
        size_hw = (details.shape[-2], details.shape[-1])
        fine = torch.sigmoid(self._enlarged(self.semantic_conv(context), size_hw))
        coarse = self.pool(self.detail_down(details)) * torch.sigmoid(self.semantic_dwconv(context))
        fine = self.detail_dwconv(details) * fine
        out: Tensor = self.conv(fine + self._enlarged(coarse, size_hw))
        return out

    def _enlarged(self, x: Tensor, size_hw: tuple[int, int]) -> Tensor:
        align = False if self.resizing == "bilinear" else None
        return functional.interpolate(x, size_hw, mode=self.resizing, align_corners=align)


def _depthwise(channels: int, bias: bool) -> nn.Sequential:
    return nn.Sequential(
        ConvNorm(channels, channels, 3, groups=channels, act=None),
        nn.Conv2d(channels, channels, 1, bias=bias),
    )


class DoublingHead(nn.Module):
    """CoinCheung's auxiliary head: its scores are twice as large as what it reads."""

    def __init__(self, in_channels: int, middle: int, channels: int, num_classes: int) -> None:
        super().__init__()
        self.first = ConvNorm(in_channels, middle, 3)
        self.dropout = nn.Dropout(0.1)
        self.conv = ConvNorm(middle, channels, 3)
        self.classifier = nn.Conv2d(channels, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        doubled = functional.interpolate(self.dropout(self.first(x)), scale_factor=2.0)
        out: Tensor = self.classifier(self.conv(doubled))
        return out


class BiSeNetV2(Network):
    """B x 3 x H x W images -> B x C x ceil(H/8) x ceil(W/8) scores.

    In training also "aux_4" to "aux_32", the scores of the semantic branch's stages. `resizing`
    "nearest" is CoinCheung's function, with its auxiliary heads.
    """

    aux_weights = MappingProxyType({f"aux_{stride}": 1.0 for stride in STRIDES})
    training_only = tuple(f"aux_{stride}." for stride in STRIDES)
    encoder = ("detail.", "semantic.")
    align_corners = False
    output_stride = 8

    def __init__(
        self,
        num_classes: int,
        *,
        detail_channels: tuple[int, int, int],
        semantic_channels: tuple[int, int, int, int],
        depths: tuple[int, int, int],
        head_channels: int,
        aux_channels: tuple[int, int, int, int],
        resizing: Resizing,
    ) -> None:
        super().__init__(num_classes)
        inputs, last = (3, *detail_channels), semantic_channels[-1]
        self.detail = nn.Sequential(
            *(
                nn.Sequential(
                    ConvNorm(inputs[i], inputs[i + 1], 3, stride=2),
                    *(ConvNorm(inputs[i + 1], inputs[i + 1], 3) for _ in range(1 if i == 0 else 2)),
                )
                for i in range(3)
            )
        )
        self.semantic = nn.ModuleList([SemanticStem(semantic_channels[0])])
        for i, depth in enumerate(depths):
            wide = semantic_channels[i + 1]
            first = GatherExpand(semantic_channels[i], wide, stride=2)
            self.semantic.append(
                nn.Sequential(first, *(GatherExpand(wide, wide) for _ in range(depth - 1)))
            )
        self.embedding = ContextEmbedding(last)
        self.bga = GuidedAggregation(last, resizing)
        self.head = ScoreHead(last, head_channels, num_classes)
        heads = zip(STRIDES, semantic_channels, aux_channels, strict=True)
        for stride, count, channels in heads:
            aux: nn.Module = nn.Sequential(
                ConvNorm(count, channels, 3), ScoreHead(channels, channels, num_classes)
            )
            if resizing == "nearest":
                aux = DoublingHead(count, last, channels, num_classes)
            self.add_module(f"aux_{stride}", aux)
        self.initialise()

    def forward(self, images_B3HW: Tensor) -> Tensor | Outputs:
        self.check_size(images_B3HW)
        stages, x = [], images_B3HW
        for stage in self.semantic:
            x = stage(x)
            stages.append(x)
        scores: Tensor = self.head(self.bga(self.detail(images_B3HW), self.embedding(x)))
        if not self.training:
            return scores
        pairs = zip(STRIDES, stages, strict=True)
        aux = {f"aux_{s}": self.get_submodule(f"aux_{s}")(feature) for s, feature in pairs}
        return {"main": scores, **aux}


_PLACES = (
    (r"^bga\.(\w+)\.0\.depthwise_conv\.", r"bga.\1.0."),
    (r"^bga\.(\w+)\.0\.pointwise_conv\.conv\.", r"bga.\1.1."),
    (r"^bga\.(detail_down|semantic_conv)\.0\.", r"bga.\1."),
    (r"\.shortcut\.0\.depthwise_conv\.", ".shortcut.0."),
    (r"\.shortcut\.0\.pointwise_conv\.", ".shortcut.1."),
    (r"(semantic\.\d\.\d\.conv2)\.0\.", r"\1."),
    (r"\.bn\.", ".norm."),
)

MMSEG = Layout(
    "mmsegmentation, BiSeNetV2",
    (r"^backbone\.bga\.",),
    (
        (r"^backbone\.detail\.detail_branch\.", "detail."),
        (r"^backbone\.semantic\.stage4_CEBlock\.gap\.1\.", "embedding.norm."),
        (r"^backbone\.semantic\.stage4_CEBlock\.", "embedding."),
        (r"^backbone\.semantic\.stage(\d)\.", lambda m: f"semantic.{int(m[1]) - 1}."),
        (r"^backbone\.bga\.", "bga."),
        *_PLACES,
        (r"^decode_head\.convs\.0\.", "head.conv."),
        (r"^decode_head\.conv_seg\.", "head.classifier."),
        (r"^auxiliary_head\.(\d)\.", lambda m: f"aux_{STRIDES[int(m[1])]}."),
        (r"^(aux_\d+)\.convs\.0\.", r"\1.0."),
        (r"^(aux_\d+)\.convs\.1\.", r"\1.1.conv."),
        (r"^(aux_\d+)\.conv_seg\.", r"\1.1.classifier."),
    ),
)

_SEGMENT: Mapping[str, int] = {"S1S2": 0, "S3": 1, "S4": 2, "S5_4": 3}
_AUX: Mapping[str, int] = {"aux2": 4, "aux3": 8, "aux4": 16, "aux5_4": 32}
_BGA = {"left1": "detail_dwconv", "left2": "detail_down",
        "right1": "semantic_conv", "right2": "semantic_dwconv"}  # fmt: skip

COINCHEUNG = Layout(
    "CoinCheung/BiSeNet, V2",
    (r"^segment\.S1S2\.", r"^bga\.left1\."),
    (
        (r"^detail\.S(\d)\.", lambda m: f"detail.{int(m[1]) - 1}."),
        (r"^segment\.S5_5\.bn\.", "embedding.norm."),
        (r"^segment\.S5_5\.", "embedding."),
        (r"^segment\.(\w+)\.", lambda m: f"semantic.{_SEGMENT[m[1]]}."),
        (r"^semantic\.0\.conv\.", "semantic.0.conv_first."),
        (r"^semantic\.0\.left\.", "semantic.0.convs."),
        (r"^semantic\.0\.fuse\.", "semantic.0.fuse_last."),
        (r"\.dwconv(\d)\.", lambda m: f".dwconv.{int(m[1]) - 1}."),
        (r"(\.\d\.)dwconv\.([01]\.)(?=\w+$)", r"\1dwconv.0.\2"),
        (r"(\.dwconv\.\d|\.\d\.conv2)\.0\.", r"\1.conv."),
        (r"(\.dwconv\.\d|\.\d\.conv2)\.1\.", r"\1.norm."),
        (r"\.shortcut\.([02])\.", lambda m: f".shortcut.{int(m[1]) // 2}.conv."),
        (r"\.shortcut\.([13])\.(?=\w+$)", lambda m: f".shortcut.{int(m[1]) // 2}.norm."),
        (r"^bga\.(left|right)([12])\.", lambda m: f"bga.{_BGA[m[1] + m[2]]}."),
        (r"^bga\.(\w+_dwconv)\.0\.", r"bga.\1.0.conv."),
        (r"^bga\.(\w+_dwconv)\.1\.", r"bga.\1.0.norm."),
        (r"^bga\.(\w+_dwconv)\.2\.", r"bga.\1.1."),
        (r"^bga\.(detail_down|semantic_conv|conv)\.0\.", r"bga.\1.conv."),
        (r"^bga\.(detail_down|semantic_conv|conv)\.1\.", r"bga.\1.norm."),
        (r"^head\.conv_out\.1\.", "head.classifier."),
        (r"^(aux\d(?:_4)?)\.", lambda m: f"aux_{_AUX[m[1]]}."),
        (r"^(aux_\d+)\.conv\.(?!norm|weight)", r"\1.first."),
        (r"^(aux_\d+)\.conv_out\.0\.1\.", r"\1.conv."),
        (r"^(aux_\d+)\.conv_out\.1\.", r"\1.classifier."),
        (r"\.bn\.", ".norm."),
    ),
)
