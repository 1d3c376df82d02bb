"""SegFormer: a transformer of four stages whose features meet in 1x1 convolutions.

Xie et al., "SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers",
NeurIPS 2021. mmsegmentation and transformers build two functions: the projections of the head, its
order of stages and the epsilon of every LayerNorm differ. Legend: B batch, C classes, H W pixels,
N tokens (positions of a map, row by row), D channels of a stage.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from artoolkit.networks.blocks import ConvNorm, resize
from artoolkit.networks.layouts import Layout, State
from artoolkit.networks.network import Network, Outputs

Size = tuple[int, int]


@dataclass(frozen=True)
class Stage:
    """Channels and heads, and by how much the keys' map is reduced; `kernel` of its embedding."""

    channels: int
    heads: int
    reduction: int
    kernel: int
    stride: int


def _as_map(tokens_BND: Tensor, size_hw: Size) -> Tensor:
    return tokens_BND.transpose(1, 2).reshape(len(tokens_BND), -1, *size_hw)


def _as_tokens(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)


class Attention(nn.Module):
    """Multi-head attention to a map reduced by a convolution; a remainder of it is left out."""

    def __init__(self, channels: int, heads: int, reduction: int, eps: float) -> None:
        super().__init__()
        self.heads, self.reduction = heads, reduction
        self.query, self.key, self.value, self.project = (
            nn.Linear(channels, channels) for _ in range(4)
        )
        if reduction > 1:
            self.sr = nn.Conv2d(channels, channels, reduction, stride=reduction)
            self.norm = nn.LayerNorm(channels, eps=eps)

    def forward(self, tokens_BND: Tensor, size_hw: Size) -> Tensor:
        read = tokens_BND
        if self.reduction > 1:
            read = self.norm(_as_tokens(self.sr(_as_map(tokens_BND, size_hw))))
        query, key, value = (
            layer(x).reshape(*x.shape[:2], self.heads, -1)
            for layer, x in ((self.query, tokens_BND), (self.key, read), (self.value, read))
        )
        out: Tensor = self.project(_attended(query, key, value).transpose(1, 2).flatten(2))
        return out


def _attended(query_BNHd: Tensor, key_BMHd: Tensor, value_BMHd: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(d)) v of every head: B x heads x N x d.

    An exported graph gets the two products and the softmax as they are written here, everything
    else the kernel that never holds N x M numbers.
    """
    query, value = query_BNHd.transpose(1, 2), value_BMHd.transpose(1, 2)
    if not torch.compiler.is_exporting():
        return functional.scaled_dot_product_attention(query, key_BMHd.transpose(1, 2), value)
    scaled = query * query.shape[-1] ** -0.5
    return torch.softmax(scaled @ key_BMHd.permute(0, 2, 3, 1), -1) @ value


class MixedFeedForward(nn.Module):
    """1x1 to four times the channels, 3x3 per channel, GELU, 1x1 back, all with bias."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = 4 * channels
        self.expand = nn.Conv2d(channels, wide, 1)
        self.depthwise = nn.Conv2d(wide, wide, 3, padding=1, groups=wide)
        self.reduce = nn.Conv2d(wide, channels, 1)

    def forward(self, tokens_BND: Tensor, size_hw: Size) -> Tensor:
        wide = self.depthwise(self.expand(_as_map(tokens_BND, size_hw)))
        return _as_tokens(self.reduce(functional.gelu(wide)))


class Block(nn.Module):
    """Attention, then the feed-forward part, each normalised before and added to what it reads.

    In training each sum leaves its part out for a share `dropped` of the images.
    """

    def __init__(self, stage: Stage, *, dropped: float, eps: float) -> None:
        super().__init__()
        self.dropped = dropped
        self.norm1 = nn.LayerNorm(stage.channels, eps=eps)
        self.attention = Attention(stage.channels, stage.heads, stage.reduction, eps)
        self.norm2 = nn.LayerNorm(stage.channels, eps=eps)
        self.ffn = MixedFeedForward(stage.channels)

    def _kept(self, part_BND: Tensor) -> Tensor:
        if not self.training or self.dropped == 0:
            return part_BND
        kept = 1 - self.dropped
        return part_BND * part_BND.new_empty(len(part_BND), 1, 1).bernoulli_(kept).div_(kept)

    def forward(self, tokens_BND: Tensor, size_hw: Size) -> Tensor:
        x = tokens_BND + self._kept(self.attention(self.norm1(tokens_BND), size_hw))
        return x + self._kept(self.ffn(self.norm2(x), size_hw))


class TransformerStage(nn.Module):
    """An overlapping convolution and norm, blocks, a norm: map to map."""

    def __init__(
        self, in_channels: int, stage: Stage, *, dropped: Sequence[float], eps: float
    ) -> None:
        super().__init__()
        channels, kernel = stage.channels, stage.kernel
        self.embed = nn.Conv2d(
            in_channels, channels, kernel, stride=stage.stride, padding=kernel // 2
        )
        self.embed_norm = nn.LayerNorm(channels, eps=eps)
        self.blocks = nn.ModuleList(Block(stage, dropped=rate, eps=eps) for rate in dropped)
        self.norm = nn.LayerNorm(channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        size_hw = (x.shape[-2], x.shape[-1])
        tokens = self.embed_norm(_as_tokens(x))
        for block in self.blocks:
            tokens = block(tokens, size_hw)
        return _as_map(self.norm(tokens), size_hw)


class MixTransformer(nn.Module):
    """Images -> the map of every stage; the share of parts left out rises to `dropped`."""

    def __init__(
        self, stages: Sequence[Stage], depths: Sequence[int], *, dropped: float, eps: float
    ) -> None:
        super().__init__()
        blocks = sum(depths)
        inputs = (3, *(stage.channels for stage in stages))
        self.stages = nn.ModuleList(
            TransformerStage(
                inputs[i],
                stage,
                dropped=[dropped * (sum(depths[:i]) + j) / (blocks - 1) for j in range(depths[i])],
                eps=eps,
            )
            for i, stage in enumerate(stages)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


class SegFormer(Network):
    """B x 3 x H x W images -> B x C x ceil(H/4) x ceil(W/4) scores; no auxiliary outputs.

    The head projects every stage, enlarges it to the first one's size, and concatenates: normalised
    and rectified, finest first (mmsegmentation), or with `linear_head` as they are, coarsest first
    (transformers).
    """

    align_corners = False
    output_stride = 4

    def __init__(
        self,
        num_classes: int,
        *,
        stages: Sequence[Stage],
        depths: Sequence[int],
        dropped: float,
        eps: float,
        head_channels: int,
        linear_head: bool,
    ) -> None:
        super().__init__(num_classes)
        self.linear_head = linear_head
        self.trunk = MixTransformer(stages, depths, dropped=dropped, eps=eps)
        self.projections = nn.ModuleList(
            nn.Conv2d(stage.channels, head_channels, 1)
            if linear_head
            else ConvNorm(stage.channels, head_channels)
            for stage in stages
        )
        self.fusion = ConvNorm(len(stages) * head_channels, head_channels)
        self.dropout = nn.Dropout2d(0.1)
        self.classifier = nn.Conv2d(head_channels, num_classes, 1)
        self.initialise()

    def initialise(self) -> None:
        """As in `Network`; linear layers start as in the paper's code, deviation 0.02, bias 0."""
        super().initialise()
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, images_B3HW: Tensor) -> Tensor | Outputs:
        self.check_size(images_B3HW)
        maps = self.trunk(images_B3HW)
        size_hw = (maps[0].shape[-2], maps[0].shape[-1])
        parts = [
            resize(project(x), size_hw, align_corners=False)
            for project, x in zip(self.projections, maps, strict=True)
        ]
        fused = self.fusion(torch.cat(parts[::-1] if self.linear_head else parts, 1))
        scores: Tensor = self.classifier(self.dropout(fused))
        return {"main": scores} if self.training else scores


def _split_projections(state: Mapping[str, Tensor]) -> State:
    """mmsegmentation keeps query, key and value in one matrix, one above the other."""
    result = {}
    for key, value in state.items():
        prefix, joined, kind = key.partition(".in_proj_")
        if not joined:
            result[key] = value
            continue
        for name, rows in zip(("query", "key", "value"), value.chunk(3), strict=True):
            result[f"{prefix}.{name}.{kind}"] = rows.clone()
    return result


MMSEG = Layout(
    "mmsegmentation, SegFormer",
    (r"^backbone\.layers\.0\.1\.0\.attn\.attn\.in_proj_weight$",),
    (
        (r"^backbone\.layers\.(\d)\.0\.projection\.", r"trunk.stages.\1.embed."),
        (r"^backbone\.layers\.(\d)\.0\.norm\.", r"trunk.stages.\1.embed_norm."),
        (r"^backbone\.layers\.(\d)\.1\.", r"trunk.stages.\1.blocks."),
        (r"^backbone\.layers\.(\d)\.2\.", r"trunk.stages.\1.norm."),
        (r"\.attn\.attn\.out_proj\.", ".attention.project."),
        (r"\.attn\.(attn\.)?", ".attention."),
        (r"\.ffn\.layers\.0\.", ".ffn.expand."),
        (r"\.ffn\.layers\.1\.", ".ffn.depthwise."),
        (r"\.ffn\.layers\.4\.", ".ffn.reduce."),
        (r"^decode_head\.convs\.", "projections."),
        (r"^decode_head\.fusion_conv\.", "fusion."),
        (r"^decode_head\.conv_seg\.", "classifier."),
        (r"\.bn\.", ".norm."),
    ),
    prepare=_split_projections,
)

TRUNK = MMSEG.trunk(r"^layers\.0\.1\.0\.attn\.attn\.in_proj_weight$")

_LINEAR = re.compile(r"(\.mlp\.dense\d|linear_c\.\d\.proj)\.weight$")


def _linear_as_convolution(state: Mapping[str, Tensor]) -> State:
    """Linear layers that are 1x1 convolutions here get two axes of 1."""
    return {
        key: value[:, :, None, None] if _LINEAR.search(key) else value
        for key, value in state.items()
    }


TRANSFORMERS = Layout(
    "Hugging Face transformers, SegFormer",
    (r"^segformer\.encoder\.patch_embeddings\.", r"^decode_head\.linear_fuse\.weight$"),
    (
        (r"^segformer\.encoder\.patch_embeddings\.(\d)\.proj\.", r"trunk.stages.\1.embed."),
        (
            r"^segformer\.encoder\.patch_embeddings\.(\d)\.layer_norm\.",
            r"trunk.stages.\1.embed_norm.",
        ),
        (r"^segformer\.encoder\.block\.(\d)\.", r"trunk.stages.\1.blocks."),
        (r"^segformer\.encoder\.layer_norm\.(\d)\.", r"trunk.stages.\1.norm."),
        (r"\.layer_norm_([12])\.", r".norm\1."),
        (r"\.attention\.output\.dense\.", ".attention.project."),
        (r"\.attention\.self\.layer_norm\.", ".attention.norm."),
        (r"\.attention\.self\.", ".attention."),
        (r"\.mlp\.dense1\.", ".ffn.expand."),
        (r"\.mlp\.dwconv\.dwconv\.", ".ffn.depthwise."),
        (r"\.mlp\.dense2\.", ".ffn.reduce."),
        (r"^decode_head\.linear_c\.(\d)\.proj\.", r"projections.\1."),
        (r"^decode_head\.linear_fuse\.", "fusion.conv."),
        (r"^decode_head\.batch_norm\.", "fusion.norm."),
        (r"^decode_head\.classifier\.", "classifier."),
    ),
    prepare=_linear_as_convolution,
)
