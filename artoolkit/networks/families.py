"""The numbers of every network, and nothing else: one function a family.

Each is called with the number of classes, the layout of the public code base whose weights it is
to load (None: artoolkit's own choice) and the user's options. `width` scales all channels: 0.5 is
ICNet as published (its release has half the width), 1 every other. `builder.py` names them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from torch import nn

from artoolkit.errors import UsageError
from artoolkit.networks import bisenetv1 as v1
from artoolkit.networks import bisenetv2 as v2
from artoolkit.networks import ddrnet as ddr
from artoolkit.networks import fast_scnn as fast
from artoolkit.networks import pidnet as pid
from artoolkit.networks import segformer as seg
from artoolkit.networks import stdc
from artoolkit.networks.blocks import BasicBlock, Bottleneck
from artoolkit.networks.efficientnet import LiteStage, LiteTrunk
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
# CoinCheung's BiSeNets: 255 times (0.3257, 0.3690, 0.3223) and (0.2112, 0.2148, 0.2115).
COINCHEUNG_PREPROCESS = Preprocess(mean=(83.0535, 94.095, 82.1865), std=(53.856, 54.774, 53.9325))
TRUNK_WIDTHS = (64, 128, 256, 512)
DEPTHS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
# The last two stages keep the size and dilate instead.
DILATED_STRIDES, DILATIONS = (1, 2, 1, 1), (1, 1, 2, 4)


def _scaled(channels: Iterable[int], width: float) -> tuple[int, ...]:
    """Channels times `width`, in multiples of 8, at least 8; `UsageError` for no such width."""
    if not 0 < width < math.inf:
        raise UsageError("no such width of a network", got=width, expected="a positive number")
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
    (stem,) = _scaled((32,), width)
    trunk = InvertedTrunk(
        stem,
        tuple(
            InvertedStage(expansion, channels, depth, stride)
            for (expansion, _, depth, stride), channels in zip(MBV2_STAGES, outputs, strict=True)
        ),
    )
    return _refined(num_classes, trunk, outputs, width)


def _refined(
    num_classes: int, trunk: nn.Module, outputs: Sequence[int], width: float
) -> RefineNetLW:
    """The decoder over a trunk of seven stages with `outputs` channels each."""
    (fine,) = _scaled((256,), width)
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
    return RefineNetLW(num_classes, trunk=trunk, groups=groups, stages=stages, channels=fine)


# Expansion, channels, depth, stride and kernel of every stage; width and depth coefficients. The
# stem, and the depth of the first and the last stage, are the same for all.
LITE_STAGES = ((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3),
               (6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3))  # fmt: skip
LITE_COEFFICIENTS = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2)}
# TensorFlow's, for integer hardware.
LITE_PREPROCESS = Preprocess(mean=(127.0, 127.0, 127.0), std=(128.0, 128.0, 128.0))


def refinenet_lw_efficientnet(
    num_classes: int, *, layout: str | None = None, lite: int, width: float = 1.0
) -> Network:
    """Light-Weight RefineNet on EfficientNet-Lite; features meet as on MobileNet-v2."""
    wider, deeper = LITE_COEFFICIENTS[lite]
    (stem,) = _scaled((32,), width)
    outputs = _scaled((channels for _, channels, *_ in LITE_STAGES), width * wider)
    last = len(LITE_STAGES) - 1
    stages = tuple(
        LiteStage(
            expansion,
            outputs[index],
            depth if index in (0, last) else math.ceil(depth * deeper),
            stride,
            kernel,
        )
        for index, (expansion, _, depth, stride, kernel) in enumerate(LITE_STAGES)
    )
    network = _refined(num_classes, LiteTrunk(stem, stages), outputs, width)
    network.preprocess = LITE_PREPROCESS
    return network


def pidnet(
    num_classes: int, *, layout: str | None = None, size: str, width: float = 1.0
) -> Network:
    """PIDNet-S, -M or -L: both public layouts are one function."""
    large = size == "l"
    channels, pyramid, head = _scaled(
        (32 if size == "s" else 64, 112 if large else 96, 256 if large else 128), width
    )
    shape = pid.PIDShape(
        channels=channels,
        shallow=3 if large else 2,
        deep=4 if large else 3,
        pyramid_channels=pyramid,
        head_channels=head,
        large=large,
    )
    return pid.PIDNet(num_classes, shape)


def ddrnet(
    num_classes: int, *, layout: str | None = None, channels: int, width: float = 1.0
) -> Network:
    """DDRNet-23 (64 channels) or its slim form (32): both public layouts are one function."""
    channels, pyramid, head = _scaled((channels, 128, 2 * channels), width)
    return ddr.DDRNet(num_classes, channels=channels, pyramid_channels=pyramid, head_channels=head)


def bisenetv1(num_classes: int, *, layout: str | None = None, width: float = 1.0) -> Network:
    """BiSeNetV1 on ResNet-18; CoinCheung's has no ReLU before the fusion's sigmoid."""
    coincheung = layout == "coincheung"
    spatial, context, fused, aux = _scaled((64, 128, 256, 64), width)
    shape = TrunkShape(
        block=BasicBlock,
        stem=_scaled((64,), width),
        widths=_scaled(TRUNK_WIDTHS, width),
        depths=DEPTHS[18],
        stride_first=True,
    )
    network = v1.BiSeNetV1(
        num_classes,
        trunk=ResidualTrunk(shape),
        trunk_channels=shape.channels,
        spatial_channels=spatial,
        context_channels=context,
        fused_channels=fused,
        aux_channels=aux,
        gate_act=None if coincheung else nn.ReLU,
    )
    network.preprocess = COINCHEUNG_PREPROCESS if coincheung else Preprocess()
    return network


def bisenetv2(num_classes: int, *, layout: str | None = None, width: float = 1.0) -> Network:
    """BiSeNetV2; CoinCheung's enlarges inside by nearest neighbours."""
    coincheung = layout == "coincheung"
    first, second, detail = _scaled((64, 64, 128), width)
    at_4, at_8, at_16, at_32 = _scaled((16, 32, 64, 128), width)
    head, *aux = _scaled((1024, 16, 64, 256, 1024), width)
    network = v2.BiSeNetV2(
        num_classes,
        detail_channels=(first, second, detail),
        semantic_channels=(at_4, at_8, at_16, at_32),
        depths=(2, 2, 4),
        head_channels=head,
        aux_channels=(aux[0], aux[1], aux[2], aux[3]),
        resizing="nearest" if coincheung else "bilinear",
    )
    network.preprocess = COINCHEUNG_PREPROCESS if coincheung else Preprocess()
    return network


def stdc_seg(
    num_classes: int,
    *,
    layout: str | None = None,
    depths: tuple[int, int, int],
    width: float = 1.0,
) -> Network:
    """STDC1-Seg or STDC2-Seg, by the number of modules in each stage."""
    first, second = _scaled((32, 64), width)
    at_8, at_16, at_32 = _scaled((256, 512, 1024), width)
    context, fused, gate, aux = _scaled((128, 256, 64, 64), width)
    return stdc.STDCSeg(
        num_classes,
        trunk=stdc.STDCTrunk((first, second), (at_8, at_16, at_32), depths),
        trunk_channels=(at_8, at_16, at_32),
        context_channels=context,
        fused_channels=fused,
        gate_channels=gate,
        aux_channels=aux,
    )


def fast_scnn(num_classes: int, *, layout: str | None = None, width: float = 1.0) -> Network:
    """Fast-SCNN; its norms average over 100 batches, not 10."""
    first, second, high = _scaled((32, 48, 64), width)
    channels = _scaled((64, 96, 128), width)
    branch, fused, aux = _scaled((32, 128, 32), width)
    return fast.FastSCNN(
        num_classes,
        shared_channels=(first, second, high),
        stages=[
            InvertedStage(6, count, 3, stride)
            for count, stride in zip(channels, (2, 2, 1), strict=True)
        ],
        pyramid=PyramidConcat(channels[-1], branch, BINS, align_corners=False),
        fused_channels=fused,
        aux_channels=aux,
        norm_momentum=0.01,
    )


def segformer(
    num_classes: int, *, layout: str | None = None, head_dim: int, width: float = 1.0
) -> Network:
    """SegFormer-B0 (32 channels a head) or -B1 (64): mmsegmentation's, or transformers'."""
    transformers = layout == "transformers"
    (channels, head) = _scaled((head_dim, 256), width)
    heads, reductions = (1, 2, 5, 8), (8, 4, 2, 1)
    return seg.SegFormer(
        num_classes,
        stages=[
            seg.Stage(
                channels * count,
                count,
                reduction,
                kernel=7 if index == 0 else 3,
                stride=4 if index == 0 else 2,
            )
            for index, (count, reduction) in enumerate(zip(heads, reductions, strict=True))
        ],
        depths=(2, 2, 2, 2),
        dropped=0.1,
        eps=1e-5 if transformers else 1e-6,
        head_channels=head,
        linear_head=transformers,
    )
