"""Networks by name: what makes each, and whose weights it loads.

The numbers stand in `families.py`; `build` is what the rest of artoolkit calls.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from artoolkit.errors import UsageError
from artoolkit.networks import bisenetv1 as v1
from artoolkit.networks import bisenetv2 as v2
from artoolkit.networks import ddrnet as ddr
from artoolkit.networks import efficientnet, layouts, stdc
from artoolkit.networks import fast_scnn as fast
from artoolkit.networks import pidnet as pid
from artoolkit.networks import segformer as seg
from artoolkit.networks.custom import build_custom
from artoolkit.networks.factory import is_custom, trust
from artoolkit.networks.families import (
    LITE_COEFFICIENTS,
    bisenetv1,
    bisenetv2,
    ddrnet,
    fast_scnn,
    icnet,
    icnet_resnet,
    pidnet,
    pspnet,
    refinenet_lw,
    refinenet_lw_efficientnet,
    refinenet_lw_mbv2,
    segformer,
    stdc_seg,
)
from artoolkit.networks.layouts import Layout
from artoolkit.networks.network import Network


@dataclass(frozen=True)
class Entry:
    """Builder of a network, and the public layouts whose weights it loads, by name.

    `trunk` is that of ImageNet weights which are neither torchvision's nor mmcls's.
    """

    make: Callable[..., Network]
    layouts: Mapping[str, Layout]
    summary: str
    fixed: Mapping[str, Any] = field(default_factory=dict)
    trunk: Layout | None = None

    @property
    def options(self) -> tuple[str, ...]:
        """The options that a user may give."""
        taken = ("num_classes", "layout", *self.fixed)
        return tuple(name for name in inspect.signature(self.make).parameters if name not in taken)


_PID = {"mmseg": pid.MMSEG, "xujiacong": pid.AUTHORS}
_DDR = {"mmseg": ddr.MMSEG, "ydhonghit": ddr.AUTHORS}
_SEG = {"mmseg": seg.MMSEG, "transformers": seg.TRANSFORMERS}
_PSP = {"mmseg": layouts.MMSEG, "semseg": layouts.SEMSEG}

NETWORKS: Mapping[str, Entry] = {
    "icnet": Entry(icnet, {"caffe": layouts.CAFFE}, "ICNet as published: real-time, half width"),
    **{
        f"icnet_r{depth}": Entry(
            icnet_resnet,
            {"mmseg": layouts.MMSEG},
            f"mmsegmentation's ICNet, ResNet-{depth}",
            {"depth": depth},
        )
        for depth in (18, 50, 101)
    },
    **{
        f"refinenet_lw{depth}": Entry(
            refinenet_lw,
            {"drsleep": layouts.DRSLEEP},
            f"Light-Weight RefineNet, ResNet-{depth}",
            {"depth": depth},
        )
        for depth in (50, 101, 152)
    },
    "refinenet_lw_mbv2": Entry(
        refinenet_lw_mbv2,
        {"drsleep": layouts.DRSLEEP_MBV2},
        "Light-Weight RefineNet, MobileNet-v2",
    ),
    **{
        f"refinenet_lw_efficientnet_lite{lite}": Entry(
            refinenet_lw_efficientnet,
            {},
            f"Light-Weight RefineNet, EfficientNet-Lite{lite}",
            {"lite": lite},
            efficientnet.TRUNK,
        )
        for lite in LITE_COEFFICIENTS
    },
    **{
        f"pspnet{depth}": Entry(pspnet, _PSP, f"PSPNet, ResNet-{depth}", {"depth": depth})
        for depth in (50, 101)
    },
    "pidnet_s": Entry(
        pidnet, _PID, "PIDNet-S: details, context, borders", {"size": "s"}, pid.TRUNK
    ),
    "pidnet_m": Entry(pidnet, _PID, "PIDNet-M", {"size": "m"}, pid.TRUNK),
    "pidnet_l": Entry(pidnet, _PID, "PIDNet-L", {"size": "l"}, pid.TRUNK),
    "ddrnet_23_slim": Entry(
        ddrnet, _DDR, "DDRNet-23-slim: dual resolution", {"channels": 32}, ddr.TRUNK
    ),
    "ddrnet_23": Entry(ddrnet, _DDR, "DDRNet-23", {"channels": 64}, ddr.TRUNK),
    "bisenetv1_r18": Entry(
        bisenetv1, {"mmseg": v1.MMSEG, "coincheung": v1.COINCHEUNG}, "BiSeNetV1, ResNet-18"
    ),
    "bisenetv2": Entry(
        bisenetv2, {"mmseg": v2.MMSEG, "coincheung": v2.COINCHEUNG}, "BiSeNetV2, from scratch"
    ),
    "stdc1": Entry(stdc_seg, {"mmseg": stdc.MMSEG}, "STDC1-Seg", {"depths": (2, 2, 2)}, stdc.TRUNK),
    "stdc2": Entry(stdc_seg, {"mmseg": stdc.MMSEG}, "STDC2-Seg", {"depths": (4, 5, 3)}, stdc.TRUNK),
    "fast_scnn": Entry(fast_scnn, {"mmseg": fast.MMSEG}, "Fast-SCNN: the smallest"),
    "segformer_b0": Entry(
        segformer, _SEG, "SegFormer-B0: a transformer", {"head_dim": 32}, seg.TRUNK
    ),
    "segformer_b1": Entry(segformer, _SEG, "SegFormer-B1", {"head_dim": 64}, seg.TRUNK),
}


def _layouts() -> Mapping[str, tuple[Layout, ...]]:
    """Every public layout by name, and the ImageNet classifiers that trunks start from."""
    found: dict[str, dict[str, Layout]] = {}
    trunks = {entry.trunk.source: entry.trunk for entry in NETWORKS.values() if entry.trunk}
    for entry in NETWORKS.values():
        for name, layout in entry.layouts.items():
            found.setdefault(name, {})[layout.source] = layout
    return {name: tuple(each.values()) for name, each in found.items()} | {
        "torchvision": (layouts.TORCHVISION, layouts.TORCHVISION_MBV2, *trunks.values())
    }


LAYOUTS = _layouts()


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
