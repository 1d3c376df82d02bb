"""The numbers of every network, and nothing else: one function a family.

Each entry of `NETWORKS` is called with the number of classes and the layout of the public code
base whose weights it is to load (None: artoolkit's own choice), and with the user's options.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from artoolkit.errors import UsageError
from artoolkit.networks.icnet import ICNet
from artoolkit.networks.network import Network
from artoolkit.networks.pooling import BINS, PyramidSum, Windows
from artoolkit.networks.resnet import ResidualTrunk, TrunkShape
from artoolkit.preprocess import Preprocess

CAFFE_PREPROCESS = Preprocess(
    mean=(103.939, 116.779, 123.68), std=(1.0, 1.0, 1.0), channel_order="bgr"
)


def icnet(
    num_classes: int,
    *,
    layout: str | None = None,
    width: float = 0.5,
    pooling: Windows | None = None,
) -> Network:
    """ICNet; `width` 0.5 is the published network, `pooling` "caffe" its fixed kernels."""

    def scaled(channels: int) -> int:
        return max(8, round(channels * width / 8) * 8)

    caffe = layout == "caffe"
    windows = pooling or ("caffe" if caffe else "adaptive")
    widths = tuple(scaled(channels) for channels in (64, 128, 256, 512))
    shape = TrunkShape(
        stem=(scaled(64), scaled(64), scaled(128)),
        widths=widths,
        depths=(3, 4, 6, 3),
        strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4),
        stride_first=True,
        ceil_mode=windows == "caffe",
    )
    network = ICNet(
        num_classes,
        trunk=ResidualTrunk(shape),
        trunk_channels=shape.channels,
        high_channels=(scaled(64), scaled(64), scaled(128)),
        context_channels=scaled(512),
        fused_channels=scaled(256),
        pyramid=PyramidSum(BINS, windows=windows, align_corners=True),
    )
    network.preprocess = CAFFE_PREPROCESS if caffe else Preprocess()
    return network


@dataclass(frozen=True)
class Entry:
    """How a network is made, and the public layouts whose weights it loads."""

    make: Callable[..., Network]
    layouts: tuple[str, ...]
    summary: str


NETWORKS: Mapping[str, Entry] = {
    "icnet": Entry(icnet, ("caffe",), "ICNet as published, real-time, half width"),
}


def _check_options(name: str, entry: Entry, options: Mapping[str, Any]) -> None:
    known = [
        parameter.name
        for parameter in inspect.signature(entry.make).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.name != "layout"
    ]
    if unknown := sorted(set(options) - set(known)):
        raise UsageError(
            f"{name} has no option {', '.join(unknown)}",
            expected=", ".join(known) or "no options",
        )


def build(name: str, *, num_classes: int, layout: str | None = None, **options: Any) -> Network:
    """The network `name`, freshly initialised, in training mode.

    `UsageError` for an unknown name, layout or option, naming the known ones.
    """
    if name not in NETWORKS:
        raise UsageError("unknown network", got=name, expected=f"one of {', '.join(NETWORKS)}")
    if num_classes < 2:
        raise UsageError("too few classes", got=num_classes, expected="at least 2")
    entry = NETWORKS[name]
    if layout is not None and layout not in entry.layouts:
        raise UsageError(
            f"{name} has no layout {layout!r}",
            expected=f"one of {', '.join(entry.layouts)}, or none",
        )
    _check_options(name, entry, options)
    network = entry.make(num_classes, layout=layout, **options)
    network.name, network.layout, network.options = name, layout, dict(options)
    return network
