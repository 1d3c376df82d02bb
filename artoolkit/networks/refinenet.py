"""Light-Weight RefineNet: a trunk refined from coarse to fine with 1x1 convolutions only.

Nekrasov et al., "Light-Weight RefineNet for Real-Time Semantic Segmentation", BMVC 2018. One class
serves the residual and the MobileNet-v2 trunk; which features meet at which stage stands in the
builder. Legend: B batch, C classes, H W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from artoolkit.networks.blocks import resize
from artoolkit.networks.network import Network, Outputs


def _project(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 1, bias=False)


class ChainedPooling(nn.Module):
    """x plus a chain of (5x5 max-pool, 1x1 convolution), every link added."""

    def __init__(self, channels: int, links: int = 4) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(5, 1, 2)
        self.links = nn.ModuleList(_project(channels, channels) for _ in range(links))

    def forward(self, x: Tensor) -> Tensor:
        top = x
        for link in self.links:
            top = link(self.pool(top))
            x = x + top
        return x


class Refinement(nn.Module):
    """Projected features of one resolution, plus the coarser stage's output, refined.

    `adapted` gives each feature a second projection; `out_channels` None leaves the result as it
    is (the finest stage).
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        out_channels: int | None,
        *,
        adapted: bool,
        act: type[nn.ReLU | nn.ReLU6],
    ) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(
            nn.Sequential(_project(count, channels), _project(channels, channels))
            if adapted
            else nn.Sequential(_project(count, channels))
            for count in in_channels
        )
        self.act = act(inplace=True)
        self.chain = ChainedPooling(channels)
        self.project = _project(channels, out_channels) if out_channels else nn.Identity()

    def forward(self, features: Sequence[Tensor], coarser: Tensor | None) -> Tensor:
        x = self.laterals[0](features[0])
        for lateral, feature in zip(self.laterals[1:], features[1:], strict=True):
            x = x + lateral(feature)
        if coarser is not None:
            x = x + resize(coarser, (x.shape[-2], x.shape[-1]), align_corners=True)
        out: Tensor = self.project(self.chain(self.act(x)))
        return out


class RefineNetLW(Network):
    """B x 3 x H x W images -> B x C x ceil(H/4) x ceil(W/4) scores; no auxiliary outputs.

    `groups` lists, coarsest first, the trunk outputs that each stage takes; `dropped` those that
    pass a dropout first. The scores go to the label's size with align_corners=False.
    """

    align_corners = False
    output_stride = 4

    def __init__(
        self,
        num_classes: int,
        *,
        trunk: nn.Module,
        groups: tuple[tuple[int, ...], ...],
        stages: Sequence[Refinement],
        channels: int,
        dropped: tuple[int, ...] = (),
        dropout: float = 0.5,
    ) -> None:
        super().__init__(num_classes)
        self.groups, self.dropped = groups, dropped
        self.trunk = trunk
        self.dropout = nn.Dropout(dropout)
        self.stages = nn.ModuleList(stages)
        self.classifier = nn.Conv2d(channels, num_classes, 3, padding=1)
        self.initialise()
        self._calm_decoder()

    def _calm_decoder(self) -> None:
        """torch's own first weights for the projections, as the authors leave them.

        Nothing normalises the decoder: with Kaiming's, its sums grow from link to link until the
        first scores have a standard deviation of thousands.
        """
        for module in self.stages.modules():
            if isinstance(module, nn.Conv2d):
                module.reset_parameters()

    def forward(self, images_B3HW: Tensor) -> Tensor | Outputs:
        self.check_size(images_B3HW)
        features = [
            self.dropout(feature) if index in self.dropped else feature
            for index, feature in enumerate(self.trunk(images_B3HW))
        ]
        x: Tensor | None = None
        for stage, group in zip(self.stages, self.groups, strict=True):
            x = stage([features[index] for index in group], x)
        scores: Tensor = self.classifier(x)
        return {"main": scores} if self.training else scores
