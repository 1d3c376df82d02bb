"""Fast-SCNN: one trunk whose first layers are shared by the detail and the context branch.

Poudel et al., "Fast-SCNN: Fast Semantic Segmentation Network", BMVC 2019, as mmsegmentation
publishes it. Legend: B batch, C classes, H W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from torch import Tensor, nn
from torch.nn import functional

from artoolkit.networks.blocks import ConvNorm, ScoreHead, Separable, resize
from artoolkit.networks.layouts import Layout
from artoolkit.networks.mobilenet import InvertedStage, inverted_stages
from artoolkit.networks.network import Network, Outputs
from artoolkit.networks.pooling import PyramidConcat


class FeatureFusion(nn.Module):
    """ReLU of the enlarged context plus the details, each projected."""

    def __init__(self, high_channels: int, low_channels: int, channels: int) -> None:
        super().__init__()
        self.dwconv = ConvNorm(low_channels, low_channels, 3, groups=low_channels)
        self.low = ConvNorm(low_channels, channels, act=None)
        self.high = ConvNorm(high_channels, channels, act=None)

    def forward(self, high: Tensor, low: Tensor) -> Tensor:
        low = resize(low, (high.shape[-2], high.shape[-1]), align_corners=False)
        return functional.relu(self.low(self.dwconv(low)) + self.high(high))


class FastSCNN(Network):
    """B x 3 x H x W images -> B x C x ceil(H/8) x ceil(W/8) scores, published as sigmoid logits.

    In training also "aux_32" and "aux_8", the scores of the context and of the shared layers.
    """

    aux_weights = MappingProxyType({"aux_32": 0.4, "aux_8": 0.4})
    training_only = ("aux_32.", "aux_8.")
    encoder = ("shared.", "stages.")
    align_corners = False
    output_stride = 8

    def __init__(
        self,
        num_classes: int,
        *,
        shared_channels: tuple[int, int, int],
        stages: Sequence[InvertedStage],
        pyramid: PyramidConcat,
        fused_channels: int,
        aux_channels: int,
        norm_momentum: float,
    ) -> None:
        super().__init__(num_classes)
        first, second, high = shared_channels
        self.shared = nn.Sequential(
            ConvNorm(3, first, 3, stride=2),
            Separable(first, second, stride=2),
            Separable(second, high, stride=2),
        )
        self.stages = inverted_stages(high, stages, act=nn.ReLU)
        self.pyramid = pyramid
        self.context = ConvNorm(pyramid.out_channels, fused_channels, 3)
        self.fusion = FeatureFusion(high, fused_channels, fused_channels)
        self.head = nn.Sequential(
            Separable(fused_channels, fused_channels),
            Separable(fused_channels, fused_channels),
            nn.Dropout2d(0.1),
        )
        self.classifier = nn.Conv2d(fused_channels, num_classes, 1)
        self.aux_32 = ScoreHead(fused_channels, aux_channels, num_classes)
        self.aux_8 = ScoreHead(high, aux_channels, num_classes)
        self.initialise()
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = norm_momentum

    def forward(self, images_B3HW: Tensor) -> Tensor | Outputs:
        self.check_size(images_B3HW)
        high = self.shared(images_B3HW)
        low = high
        for stage in self.stages:
            low = stage(low)
        low = self.context(self.pyramid(low))
        scores: Tensor = self.classifier(self.head(self.fusion(high, low)))
        if not self.training:
            return scores
        return {"main": scores, "aux_32": self.aux_32(low), "aux_8": self.aux_8(high)}


MMSEG = Layout(
    "mmsegmentation, Fast-SCNN",
    (r"^backbone\.learning_to_downsample\.",),
    (
        (r"^backbone\.learning_to_downsample\.conv\.", "shared.0."),
        (r"^backbone\.learning_to_downsample\.dsconv(\d)\.", r"shared.\1."),
        (r"^decode_head\.convs\.(\d)\.", r"head.\1."),
        (r"^decode_head\.conv_seg\.", "classifier."),
        (r"\.depthwise_conv\.", ".0."),
        (r"\.pointwise_conv\.", ".1."),
        (
            r"^backbone\.global_feature_extractor\.bottleneck(\d)\.",
            lambda m: f"stages.{int(m[1]) - 1}.",
        ),
        (r"^(stages\.\d\.\d)\.conv\.0\.", r"\1.expand."),
        (r"^(stages\.\d\.\d)\.conv\.1\.", r"\1.depthwise."),
        (r"^(stages\.\d\.\d)\.conv\.2\.", r"\1.project."),
        (r"^backbone\.global_feature_extractor\.ppm\.(\d)\.1\.", r"pyramid.branches.\1."),
        (r"^backbone\.global_feature_extractor\.out\.", "context."),
        (r"^backbone\.feature_fusion\.dwconv\.", "fusion.dwconv."),
        (r"^backbone\.feature_fusion\.conv_lower_res\.", "fusion.low."),
        (r"^backbone\.feature_fusion\.conv_higher_res\.", "fusion.high."),
        (r"^auxiliary_head\.0\.", "aux_32."),
        (r"^auxiliary_head\.1\.", "aux_8."),
        (r"^(aux_\d+)\.convs\.0\.", r"\1.conv."),
        (r"^(aux_\d+)\.conv_seg\.", r"\1.classifier."),
        (r"\.bn\.", ".norm."),
    ),
)
