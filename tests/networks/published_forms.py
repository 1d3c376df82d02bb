"""Small networks with what published code does, one trait each; test_published_forms.py."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch
from own_network import Fixed, Heads, Plain
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Fixed", "Plain"]  # built by name as well


class OneMore(Plain):
    """ESPNet, EdgeNets: one score more than there are classes, for void."""

    def __init__(self, classes: int = 20) -> None:
        super().__init__(classes)


class Logits(Plain):
    """transformers: a mapping with `logits`."""

    def forward(self, x: Tensor) -> Any:
        return OrderedDict(loss=None, logits=super().forward(x))


class Nested(Plain):
    """Scores in a list in a tuple, an edge of one channel beside them."""

    def forward(self, x: Tensor) -> Any:
        scores = super().forward(x)
        return ([scores], scores[:, :1])


class Configured(Plain):
    """LEDNet, HRNet and others: one object with everything, nested."""

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg.num_classes, cfg["model"].width)


class Affine(nn.Module):
    """ESPNet, CGNet: normalisation and PReLU after a concatenation, a transposed convolution."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 5, 3, 2, 1, bias=False), nn.AvgPool2d(3, 2, 1)
        self.norm, self.act = nn.BatchNorm2d(8), nn.PReLU(8)
        self.up = nn.ConvTranspose2d(8, num_classes, 2, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.act(self.norm(torch.cat((self.a(x), self.b(x)), 1))))


class Tokens(Plain):
    """SegFormer: a linear layer on tokens is two nodes of one module."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.linear, self.act = nn.Linear(8, 8), nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        f = self.trunk(x)
        tokens = self.act(self.linear(f.flatten(2).transpose(1, 2)))
        return self.head(tokens.transpose(1, 2).reshape(f.shape))


class Unpooled(Plain):
    """ENet: maxima with their places, put back."""

    def forward(self, x: Tensor) -> Tensor:
        f, places = functional.max_pool2d(self.trunk(x), 2, return_indices=True)
        return self.head(functional.max_unpool2d(f, places, 2))


class Split(Plain):
    """FPENet: parts of uneven size."""

    def forward(self, x: Tensor) -> Tensor:
        first, second, third = torch.split(self.trunk(x), 3, 1)
        return self.head(torch.cat((third, first, second), 1))


class Pooled(Plain):
    """Fast-SCNN, PSPNet, ESPNetv2: adaptive pools; their bins divide the map or not."""

    POOLS = (
        *map(nn.AdaptiveAvgPool2d, (3, (7, 5), (None, 6), (4, 6), 1)),
        *map(nn.AdaptiveMaxPool2d, ((3, 7), (4, 6))),
    )

    def forward(self, x: Tensor) -> Tensor:
        f = self.trunk(x)
        maps = [
            functional.interpolate(pool(f), f.shape[2:], mode="bilinear") for pool in self.POOLS
        ]
        return self.head(f + torch.stack(maps).sum(0))


class Everything(Tokens):
    """All that makes a graph unusual at once: in one export."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.parts = nn.ModuleList((Affine(8), Unpooled(8), Split(8), Pooled(8)))

    def forward(self, x: Tensor) -> Tensor:
        maps = [functional.interpolate(part(x), x.shape[2:]) for part in self.parts]
        return functional.interpolate(super().forward(x), x.shape[2:]) + self.head(sum(maps))


class MultiplesOf32(Plain):
    """segmentation_models.pytorch: other sizes are refused."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-2] % 32 or x.shape[-1] % 32:
            raise RuntimeError(f"Wrong input shape {tuple(x.shape[-2:])}, divisible by 32 expected")
        return super().forward(x)


class MainSecond(Heads):
    """PIDNet: an auxiliary map, the scores, and an edge of one channel."""


class MoreInTraining(Heads):
    """A lone map in evaluation, and three in training, the scores second."""

    def forward(self, x: Tensor) -> Any:
        found = super().forward(x)
        return found if self.training else found[1]


class Branching(Plain):
    """A branch on a value: no graph can hold it."""

    def forward(self, x: Tensor) -> Tensor:
        f = self.trunk(x)
        return self.head(f + 1 if f.mean() > 0 else f)


class Foreign(Plain):
    """An operator that ONNX does not have, in a module of its own."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.body = nn.Sequential(nn.ReLU(), Eigenvalues())

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.trunk(x)))


class Eigenvalues(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.linalg.eigvals(x[..., :4, :4]).real.sum()


class Forgotten(Plain):
    """More parameters beside the scores than in them; `width` 0: fewer."""

    def __init__(self, num_classes: int, width: int = 40) -> None:
        super().__init__(num_classes)
        self.other, self.last = nn.Conv2d(8, 1, 1), nn.Conv2d(8, width, 3)


class Attributes(Plain):
    """Scores as an attribute of a dataclass."""

    def forward(self, x: Tensor) -> Any:
        return Found(features=x, logits=super().forward(x))


@dataclass
class Found:
    features: Tensor
    logits: Tensor


class Positions(Plain):
    """Buffers of the image's size, made when it comes: one declared before, one not."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.register_buffer("rows", None)

    def forward(self, x: Tensor) -> Tensor:
        f = self.trunk(x)
        if self.rows is None or self.rows.shape[2] != f.shape[2]:
            self.register_buffer("rows", torch.linspace(0, 1, f.shape[2]).view(1, 1, -1, 1))
            self.register_buffer("columns", torch.linspace(0, 1, f.shape[3]).view(1, 1, 1, -1))
        return self.head(f + self.rows + self.columns)


class LastAxis(Plain):
    """Classes as the last axis."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).permute(0, 2, 3, 1)


class Labels(Plain):
    """Labels in evaluation, as if they were scores of one class."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).argmax(1, keepdim=True).float()


class Larger(Plain):
    """More scores than pixels."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.interpolate(super().forward(x), scale_factor=8.0)


class Probabilities(Plain):
    """A softmax inside."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).softmax(1)


class WithTarget(Plain):
    """Asks for the labels as well."""

    def forward(self, x: Tensor, target: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x) * target


class Restless(Plain):
    """Dropout in evaluation too."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(functional.dropout(self.trunk(x), 0.5))


class Stirred(Plain):
    """Fails in training only."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            raise AttributeError("no teacher was set")
        return super().forward(x)


class Masked(Plain):
    """A mask as an index: how much it selects depends on the image."""

    def forward(self, x: Tensor) -> Tensor:
        f = self.trunk(x)
        return self.head(f + f[f > 0].mean())


class Constant(nn.Module):
    """Nothing to train."""

    def __init__(self, num_labels: int) -> None:
        super().__init__()
        self.count = num_labels

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :1] * torch.arange(self.count, device=x.device).view(1, -1, 1, 1)


class Swish(torch.autograd.Function):
    """What saves memory in training, by hand."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x.sigmoid()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        s = ctx.saved_tensors[0].sigmoid()
        return gradient * (s + ctx.saved_tensors[0] * s * (1 - s))


class Operators(Plain):
    """Windows that roll, mixed kernels by `view`, a GRU, 3-D and normalised weights, flow, ..."""

    def __init__(self, nb_classes: int, /) -> None:
        super().__init__(nb_classes)
        self.rows = nn.GRU(8, 4, batch_first=True, bidirectional=True)
        self.depth = nn.Conv3d(1, 1, 3, padding=1)
        self.normed = nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 8, 1))
        self.norms = nn.Sequential(nn.GroupNorm(2, 8), nn.SyncBatchNorm(8), nn.PixelShuffle(2))
        self.kernels, self.gate = nn.Parameter(torch.ones(2, 64) / 8), nn.Linear(8, 2)
        self.flow = nn.Conv2d(8, 2, 1)
        self.tied = self.normed

    def forward(self, x: Tensor) -> Tensor:
        f = self.tied(self.normed(self.trunk(x)))
        n, c, h, w = f.shape
        kernels = (self.gate(f.mean((2, 3))).sigmoid() @ self.kernels).view(n * c, c, 1, 1)
        f = functional.conv2d(f.view(1, n * c, h, w), kernels, groups=n).view(n, c, h, w)
        f = f + torch.roll(f, (-2, 3), (2, 3)) + self.depth(f[:, None])[:, 0]
        rows = self.rows(f.permute(0, 2, 3, 1).reshape(n * h, w, c))[0].view(n, h, w, c)
        f = f + rows.permute(0, 3, 1, 2) + functional.interpolate(self.norms(f).repeat(
            1, 4, 1, 1), (h, w), mode="bicubic")  # fmt: skip
        axes = (torch.linspace(-1, 1, size, device=x.device) for size in (h, w))
        ys, xs = torch.meshgrid(*axes, indexing="ij")
        grid = torch.stack((xs, ys), -1) + self.flow(f).permute(0, 2, 3, 1) / 16
        f = f + functional.grid_sample(f, grid, align_corners=True)
        gram = torch.einsum("bchw,bdhw->bcd", f, f).softmax(-1)
        return self.head(Swish.apply(torch.einsum("bcd,bdhw->bchw", gram, f)))


made_already = Plain(3)  # a name that is no factory


def leaves(num_classes: int) -> nn.Module:
    raise SystemExit("no licence")


class Shared(Plain):
    """EfficientDet: one convolution, two norms; both called twice; statistics of the batch."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.conv, self.norms = nn.Conv2d(8, 8, 1), nn.ModuleList(nn.BatchNorm2d(8) for _ in "ab")
        self.twice = nn.Sequential(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8))
        self.computed = nn.Sequential(
            nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 8, 1)), nn.BatchNorm2d(8),
            nn.BatchNorm2d(8, track_running_stats=False), nn.ReLU(), nn.BatchNorm2d(8),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        f = self.trunk(x)
        f = sum(norm(self.conv(f)).relu() for norm in self.norms)
        f = self.computed(self.twice(self.twice(f)))
        return self.head(f) + self.head(f * f)
