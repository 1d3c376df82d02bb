"""The deployed network: uint8 pixels in, uint8 train ids out, everything else inside.

The network itself is left alone; this wraps it. Legend: N images, C classes, H W pixels, h w
positions of the score map.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from artoolkit.networks import Network
from artoolkit.preprocess import Preprocess
from artoolkit.spec import Target

INPUT, OUTPUT, SCORES = "image", "labels", "scores"


def argmax_labels(scores_NCHW: Tensor) -> Tensor:
    """Float N x C x H x W -> uint8 N x H x W: the first of the classes with the highest score.

    By way of float32: TensorRT documents no conversion of the index, an int64, to uint8.
    """
    return scores_NCHW.argmax(1).to(torch.float32).to(torch.uint8)


def upsampled(scores: Tensor, size_hw: tuple[int, int], *, align_corners: bool) -> Tensor:
    """N x C x h x w -> N x C x H x W, bilinear; the same tensor where it has the size."""
    if tuple(scores.shape[-2:]) == tuple(size_hw):
        return scores
    return functional.interpolate(scores, size_hw, mode="bilinear", align_corners=align_corners)


class Deployed(nn.Module):
    """uint8 N x H x W x 3 RGB images -> uint8 N x H x W train ids of `labels_hw` pixels.

    `labels_hw` None: of the image's size, whatever that is. `planar`: from the same pixels as
    float32 N x 3 x H x W; `wide`: to int32 train ids.

    With `half` the network and its head compute in float16; pixels are normalised in float32
    first, since a mean like 123.675 has an error of 0.02 in float16. They become floats before
    their channels are moved: TensorRT transposes no bytes.
    """

    mean: Tensor
    variance: Tensor

    def __init__(
        self,
        network: Network,
        preprocess: Preprocess,
        *,
        labels_hw: tuple[int, int] | None = None,
        half: bool = False,
        planar: bool = False,
        wide: bool = False,
    ) -> None:
        super().__init__()
        self.planar, self.wide = planar, wide
        self.dtype = torch.float16 if half else torch.float32
        self.network = network.to(self.dtype)
        self.labels_hw = labels_hw
        self.flip = preprocess.channel_order == "bgr"
        mean = torch.tensor(preprocess.mean, dtype=torch.float32)
        variance = torch.tensor(preprocess.std, dtype=torch.float64).square().float()
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("variance", variance, persistent=False)

    def normalised(self, image: Tensor) -> Tensor:
        """The image -> N x 3 x H x W as `preprocess.normalise`, to float rounding."""
        pixels = image if self.planar else image.to(torch.float32).permute(0, 3, 1, 2)
        if self.flip:
            pixels = pixels.flip(1)
        # One operator for (x - mean) / std, so one pass over the pixels where nothing is fused.
        normalised = functional.batch_norm(pixels, self.mean, self.variance, eps=0.0)
        return normalised.to(self.dtype)

    def scores(self, image: Tensor) -> Tensor:
        """The image -> N x C x h x w, before upsampling."""
        scores: Tensor = self.network(self.normalised(image))
        return scores

    def labels_and_scores(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The labels, and the N x C x h x w scores they come from."""
        scores = self.scores(image)
        size_hw = self.labels_hw or (image.shape[1], image.shape[2])
        full = upsampled(scores, size_hw, align_corners=self.network.align_corners)
        return full.argmax(1).to(torch.int32) if self.wide else argmax_labels(full), scores

    def forward(self, image: Tensor) -> Tensor:
        return self.labels_and_scores(image)[0]


def deployed_module(network: Network, preprocess: Preprocess, target: Target) -> Deployed:
    """`network` in evaluation mode, wrapped as `target` declares."""
    return Deployed(
        network.eval(),
        preprocess,
        labels_hw=target.labels_hw,
        half=target.precision == "fp16",
        planar=target.layout == "nchw_float32",
        wide=target.labels_dtype == "int32",
    ).eval()


class LabelsAndScores(nn.Module):
    """uint8 N x H x W x 3 -> (`labels`, `scores`): what a parity check and the exporter ask for."""

    def __init__(self, deployed: Deployed) -> None:
        super().__init__()
        self.deployed = deployed
        self.eval()

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        return self.deployed.labels_and_scores(image)
