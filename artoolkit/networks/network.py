"""Interface of every network: images in, scores out, facts attached.

Read `families.py` next: it holds the numbers of every network. Legend: B batch, C classes,
H W pixels of the image, h w positions of the score map.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from artoolkit.preprocess import Preprocess

Outputs = dict[str, Tensor]


class Network(nn.Module):
    """A segmentation network: B x 3 x H x W float images -> B x C x h x w float scores.

    Images are normalised as `preprocess` says. In evaluation mode `forward` returns the main score
    map; in training mode a dict with "main", one entry per name of `aux_weights` and one per output
    of `terms`, each a score map of its own resolution. `ValueError` for an image smaller than
    `minimum_hw`.

    `aux_weights` are weights of the cross-entropy of auxiliary outputs; `terms` are further terms
    of the loss by name, each with the values of a `training.recipe.TermChoice`.

    `align_corners` and `output_stride` describe how the main scores lie on the image: they are
    brought to the label's size by bilinear resizing with this `align_corners`. `encoder` and
    `training_only` are prefixes of state-dict keys: the trunk that can be pre-trained, and what
    never reaches a device. `channels_last`: False where its code needs one plane after the other
    in memory.
    """

    align_corners: bool = True
    output_stride: int = 4
    aux_weights: Mapping[str, float] = MappingProxyType({})
    terms: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    training_only: tuple[str, ...] = ()
    encoder: tuple[str, ...] = ("trunk.",)
    minimum_hw: tuple[int, int] = (32, 32)
    channels_last: bool = True

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.name = type(self).__name__
        self.layout: str | None = None
        self.options: dict[str, Any] = {}
        self.preprocess = Preprocess()

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what `forward` returns in training mode: "main", and what the loss reads."""
        named = ("main", *self.aux_weights, *(t.get("output", "main") for t in self.terms.values()))
        return tuple(dict.fromkeys(named))

    @property
    def trial_hw(self) -> tuple[int, int]:
        """Size at which every part can be tried: the least one leaves some maps a single value."""
        return 2 * self.minimum_hw[0], 2 * self.minimum_hw[1]

    def check_size(self, images_B3HW: Tensor) -> tuple[int, int]:
        """Height and width of the images, or a `ValueError` if a side is too short."""
        height, width = images_B3HW.shape[-2:]
        if height < self.minimum_hw[0] or width < self.minimum_hw[1]:
            least = " x ".join(map(str, self.minimum_hw))
            raise ValueError(
                f"an image of {height} x {width} pixels; {self.name} needs at least {least}"
            )
        return height, width

    def initialise(self) -> None:
        """Kaiming's normal for convolutions; classifiers start near zero, so near equal scores.

        A classifier is called so, or is by itself an output that exists in training only.
        """
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d):
                if name.endswith("classifier") or f"{name}." in self.training_only:
                    nn.init.normal_(module.weight, std=0.01)
                else:
                    nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
