"""The numbers of every network, and nothing else: one function a family.

Each entry of `NETWORKS` is called with the number of classes, the layout of the public code base
whose weights it is to load (None: artoolkit's own choice) and the user's options. `width` scales
all channels: 0.5 is ICNet as published (its release is compressed to half width), 1 every other.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from artoolkit.errors import UsageError
from artoolkit.networks.blocks import BasicBlock, Bottleneck
from artoolkit.networks.custom import build_custom, is_custom, trust
from artoolkit.networks.icnet import ICNet
from artoolkit.networks.icnet_resnet import ICNetResidual
from artoolkit.networks.mobilenet import InvertedStage, InvertedTrunk
from artoolkit.networks.network import Network
from artoolkit.networks.pooling import BINS, PyramidConcat, PyramidSum, Windows
from artoolkit.networks.pspnet import PSPNet
from artoolkit.networks.refinenet import Refinement, RefineNetLW
from artoolkit.networks.resnet import ResidualTrunk, TrunkShape
from artoolkit.preprocess import Preprocess

CAFFE_PREPROCESS = Preprocess(
    mean=(103.939, 116.779, 123.68), std=(1.0, 1.0, 1.0), channel_order="bgr"
)
TRUNK_WIDTHS = (64, 128, 256, 512)
DEPTHS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
# The last two stages keep the size and dilate instead.
DILATED_STRIDES, DILATIONS = (1, 2, 1, 1), (1, 1, 2, 4)


def _scaled(channels: Iterable[int], width: float) -> tuple[int, ...]:
    """Channels times `width`, in multiples of 8, at least 8."""
    return tuple(max(8, round(count * width / 8) * 8) for count in channels)


def icnet(
    num_classes: int,
    *,
    layout: str | None = None,
    width: float = 0.5,
    pooling: Windows | None = None,
) -> Network:
    """ICNet as published; `pooling` "caffe" takes the fixed kernels of its Caffe release."""
    caffe = layout == "caffe"
    windows = pooling or ("caffe" if caffe else "adaptive")
    first, second, third = _scaled((64, 64, 128), width)
    context, fused = _scaled((512, 256), width)
    shape = TrunkShape(
        stem=(first, second, third),
        widths=_scaled(TRUNK_WIDTHS, width),
        depths=DEPTHS[50],
        stride_first=True,
        ceil_mode=windows == "caffe",
        strides=DILATED_STRIDES,
        dilations=DILATIONS,
    )
    network = ICNet(
        num_classes,
        trunk=ResidualTrunk(shape),
        trunk_channels=shape.channels,
        high_channels=(first, second, third),
        context_channels=context,
        fused_channels=fused,
        pyramid=PyramidSum(BINS, windows=windows, align_corners=True),
    )
    network.preprocess = CAFFE_PREPROCESS if caffe else Preprocess()
    return network


def icnet_resnet(
    num_classes: int, *, layout: str | None = None, depth: int, width: float = 1.0
) -> Network:
    """ICNet of mmsegmentation, on a dilated ResNet (v1c)."""
    basic = depth < 50
    first, second, third = _scaled((32, 32, 64), width)
    context, branch, fused = _scaled((512, 256, 128), width)
    shape = TrunkShape(
        block=BasicBlock if basic else Bottleneck,
        stem=(first, second, third),
        widths=_scaled(TRUNK_WIDTHS, width),
        depths=DEPTHS[depth],
        contract=True,
        stride_first=basic,
        ceil_mode=True,
        strides=DILATED_STRIDES,
        dilations=DILATIONS,
    )
    return ICNetResidual(
        num_classes,
        trunk=ResidualTrunk(shape),
        trunk_channels=shape.channels,
        pyramid=PyramidConcat(
            shape.channels[-1], context, BINS, align_corners=False, levels_first=True
        ),
        context_channels=context,
        branch_channels=branch,
        high_channels=(first, second, third),
        fused_channels=fused,
    )


def pspnet(
    num_classes: int, *, layout: str | None = None, depth: int, width: float = 1.0
) -> Network:
    """PSPNet on a dilated ResNet: mmsegmentation's, or hszhao's with layout "semseg"."""
    semseg = layout == "semseg"
    head, aux = _scaled((512, 256), width)
    shape = TrunkShape(
        stem=_scaled((64, 64, 128) if semseg else (32, 32, 64), width),
        widths=_scaled(TRUNK_WIDTHS, width),
        depths=DEPTHS[depth],
        contract=not semseg,
        strides=DILATED_STRIDES,
        dilations=DILATIONS,
    )
    return PSPNet(
        num_classes,
        trunk=ResidualTrunk(shape),
        trunk_channels=shape.channels,
        pyramid=PyramidConcat(shape.channels[-1], head, BINS, align_corners=semseg),
        head_channels=head,
        aux_channels=aux,
        align_corners=semseg,
    )


def refinenet_lw(
    num_classes: int, *, layout: str | None = None, depth: int, width: float = 1.0
) -> Network:
    """Light-Weight RefineNet on a ResNet."""
    coarse, fine = _scaled((512, 256), width)
    shape = TrunkShape(
        stem=_scaled((64,), width), widths=_scaled(TRUNK_WIDTHS, width), depths=DEPTHS[depth]
    )
    inputs = shape.channels
    return RefineNetLW(
        num_classes,
        trunk=ResidualTrunk(shape),
        groups=((3,), (2,), (1,), (0,)),
        stages=[
            Refinement([inputs[3]], coarse, fine, adapted=False, act=nn.ReLU),
            Refinement([inputs[2]], fine, fine, adapted=True, act=nn.ReLU),
            Refinement([inputs[1]], fine, fine, adapted=True, act=nn.ReLU),
            Refinement([inputs[0]], fine, None, adapted=True, act=nn.ReLU),
        ],
        channels=fine,
        dropped=(2, 3),
    )


# Expansion, channels, depth and stride of every stage.
MBV2_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
               (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))  # fmt: skip


def refinenet_lw_mbv2(
    num_classes: int, *, layout: str | None = None, width: float = 1.0
) -> Network:
    """Light-Weight RefineNet on MobileNet-v2."""
    outputs = _scaled((channels for _, channels, _, _ in MBV2_STAGES), width)
    stem, fine = _scaled((32, 256), width)
    groups = ((6, 5), (4, 3), (2,), (1,))
    stages = [
        Refinement(
            [outputs[index] for index in group],
            fine,
            fine if group != groups[-1] else None,
            adapted=False,
            act=nn.ReLU6,
        )
        for group in groups
    ]
    trunk = InvertedTrunk(
        stem,
        tuple(
            InvertedStage(expansion, channels, depth, stride)
            for (expansion, _, depth, stride), channels in zip(MBV2_STAGES, outputs, strict=True)
        ),
    )
    return RefineNetLW(num_classes, trunk=trunk, groups=groups, stages=stages, channels=fine)


@dataclass(frozen=True)
class Entry:
    """How a network is made, and the public layouts whose weights it loads."""

    make: Callable[..., Network]
    layouts: tuple[str, ...]
    summary: str
    fixed: Mapping[str, Any] = field(default_factory=dict)

    @property
    def options(self) -> tuple[str, ...]:
        """The options that a user may give."""
        taken = ("num_classes", "layout", *self.fixed)
        return tuple(name for name in inspect.signature(self.make).parameters if name not in taken)


NETWORKS: Mapping[str, Entry] = {
    "icnet": Entry(icnet, ("caffe",), "ICNet as published: real-time, half width"),
    **{
        f"icnet_r{depth}": Entry(
            icnet_resnet, ("mmseg",), f"mmsegmentation's ICNet, ResNet-{depth}", {"depth": depth}
        )
        for depth in (18, 50, 101)
    },
    **{
        f"refinenet_lw{depth}": Entry(
            refinenet_lw,
            ("drsleep",),
            f"Light-Weight RefineNet, ResNet-{depth}",
            {"depth": depth},
        )
        for depth in (50, 101, 152)
    },
    "refinenet_lw_mbv2": Entry(
        refinenet_lw_mbv2, ("drsleep",), "Light-Weight RefineNet, MobileNet-v2"
    ),
    **{
        f"pspnet{depth}": Entry(
            pspnet, ("mmseg", "semseg"), f"PSPNet, ResNet-{depth}", {"depth": depth}
        )
        for depth in (50, 101)
    },
}


def build(name: str, *, num_classes: int, layout: str | None = None, **options: Any) -> Network:
    """The network `name`, freshly initialised, in training mode.

    A name `package.module:factory` is the user's own (see `custom.py`); asking for it here is
    trusting it. `UsageError` for an unknown name, layout or option, naming the known ones.
    """
    if num_classes < 2:
        raise UsageError("too few classes", got=num_classes, expected="at least 2")
    if is_custom(name) and layout is None:
        trust(name)
        network: Network = build_custom(name, num_classes, options)
    else:
        network = _built_in(name, num_classes, layout, options)
    network.name, network.layout, network.options = name, layout, dict(options)
    return network


def _built_in(
    name: str, num_classes: int, layout: str | None, options: Mapping[str, Any]
) -> Network:
    if is_custom(name):
        raise UsageError(f"network {name} has no layouts", got=layout)
    if name not in NETWORKS:
        raise UsageError.unknown("network", name, NETWORKS, hint="Or give package.module:factory.")
    entry = NETWORKS[name]
    if layout is not None and layout not in entry.layouts:
        raise UsageError(
            f"{name} has no layout {layout!r}",
            expected=f"one of {', '.join(entry.layouts)}, or none",
        )
    if unknown := sorted(set(options) - set(entry.options)):
        raise UsageError(
            f"{name} has no option {', '.join(unknown)}", expected=", ".join(entry.options)
        )
    return entry.make(num_classes, layout=layout, **entry.fixed, **options)
