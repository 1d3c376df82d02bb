"""Networks that a user of artoolkit might have written, for test_custom.py."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Plain(nn.Module):
    """Scores at 1/4, as a tensor."""

    def __init__(self, num_classes: int, channels: int = 8) -> None:
        super().__init__()
        self.trunk = nn.Conv2d(3, channels, 3, stride=4, padding=1)
        self.head = nn.Conv2d(channels, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.trunk(x).relu())


class Wrapped(nn.Module):
    """What others return: a tuple, or a dict with "out", at the size of the image."""

    def __init__(self, num_classes: int, form: str) -> None:
        super().__init__()
        self.inner = Plain(num_classes)
        self.aux = nn.Conv2d(8, num_classes, 1)
        self.form = form

    def forward(self, x: Tensor) -> object:
        feature = self.inner.trunk(x).relu()
        scores = functional.interpolate(self.inner.head(feature), x.shape[-2:], mode="bilinear")
        if self.form == "tuple":
            return scores, self.aux(feature)
        return {"out": scores, "aux": self.aux(feature)}


def plain_with_seven_classes() -> nn.Module:
    return Plain(7)


def no_network(num_classes: int) -> int:
    return num_classes


def breaks(num_classes: int) -> nn.Module:
    raise RuntimeError(f"no weights for {num_classes} classes")


class Fails(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x @ torch.zeros(1, 1)


class Lopsided(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, ::4, ::8]


class Heads(nn.Module):
    """Several outputs of C channels, as published code returns them; keys None: a list."""

    def __init__(self, n_classes: int, keys: tuple[str, ...] | None = None) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, 4, 1)
        self.aux, self.main = nn.Conv2d(4, n_classes, 1), nn.Conv2d(4, n_classes, 1)
        self.edge, self.keys = nn.Conv2d(4, 1, 1), keys

    def forward(self, x: Tensor) -> object:
        feature = self.stem(x)
        found = [self.aux(feature), self.main(feature), self.edge(feature)]
        return found if self.keys is None else dict(zip(self.keys, found, strict=False))


class Fixed(Plain):
    """Runs at one size only, which is written into it."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        self.bias = nn.Parameter(torch.zeros(1, classes, 16, 32))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.bias
