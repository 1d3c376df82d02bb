"""Key layouts of public code bases, mapped to artoolkit's keys.

A layout is a list of (pattern, replacement) pairs applied to every key in order, and the keys that
tell it from the others. Layouts of several networks stand here, those of one network in its file;
`builder.py` says which network has which. Read `published.py` first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

Rules = tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]
State = dict[str, Tensor]


@dataclass(frozen=True)
class Layout:
    """A public layout: every one of `markers` matches a key of such a file.

    `prepare` returns the file's weights with what renaming cannot do done: parts joined or split,
    constants of the code base left out.
    """

    source: str
    markers: tuple[str, ...]
    rules: Rules
    prepare: Callable[[Mapping[str, Tensor]], State] = dict

    def matches(self, keys: Iterable[str]) -> bool:
        text = "\n".join(keys)
        return all(re.search(marker, text, re.MULTILINE) for marker in self.markers)

    def trunk(self, marker: str, *, inside: str = "backbone.") -> Layout:
        """The layout of files that hold the trunk alone, whose keys lack the prefix `inside`."""
        rules = (("^", inside), *self.rules)
        return Layout(f"{self.source}, trunk", (marker,), rules, self.prepare)

    def rename(self, key: str) -> str:
        """The key in artoolkit's network; what no rule knows stays, and is reported later."""
        for pattern, replacement in self.rules:
            key = re.sub(pattern, replacement, key)
        return key


def _third(match: re.Match[str]) -> str:
    """Index i of a flat conv, norm, act sequence -> block i // 3 and its conv or norm."""
    index = int(match[2])
    return f"{match[1]}{index // 3}.{'conv' if index % 3 == 0 else 'norm'}."


def _lowered(offset: int) -> Callable[[re.Match[str]], str]:
    """The number in the second group, less `offset`."""
    return lambda match: f"{match[1]}{int(match[2]) - offset}{match[3]}"


RESIDUAL: Rules = (
    (r"(layer\d\.\d+)\.conv(\d)\.", r"\1.conv\2.conv."),
    (r"(layer\d\.\d+)\.bn(\d)\.", r"\1.conv\2.norm."),
    (r"(layer\d\.\d+)\.downsample\.0\.", r"\1.shortcut.conv."),
    (r"(layer\d\.\d+)\.downsample\.1\.", r"\1.shortcut.norm."),
)

# PIDNet's and DDRNet's stems, branches, pyramids and main heads in mmsegmentation ...
DUAL_MMSEG: Rules = (
    (r"^backbone\.", "trunk."),
    (r"\.bn\.", ".norm."),
    (r"\.downsample\.(conv|0)\.", ".shortcut.conv."),
    (r"\.downsample\.(norm|1)\.", ".shortcut.norm."),
    (r"^(trunk\.spp\.scales\.\d)\.1\.", r"\1."),
    (r"^decode_head\.conv_seg\.", "head.classifier."),
)

# ... and in the code of their authors.
DUAL_BLOCKS: Rules = (
    (r"^(layer\d\w*(?:\.\d+)?)\.conv(\d)\.", r"\1.conv\2.conv."),
    (r"^(layer\d\w*(?:\.\d+)?)\.bn(\d)\.", r"\1.conv\2.norm."),
    (r"^(layer\d\w*(?:\.\d+)?)\.downsample\.0\.", r"\1.shortcut.conv."),
    (r"^(layer\d\w*(?:\.\d+)?)\.downsample\.1\.", r"\1.shortcut.norm."),
    (r"^(conv1\.)(\d)\.", _third),
    (r"^conv1\.", "trunk.stem."),
    (r"^layer([12])\.", lambda match: f"trunk.stem.{2 * int(match[1])}."),
    (r"^compression([34])\.0\.", lambda match: f"trunk.compression_{int(match[1]) - 2}.conv."),
    (r"^compression([34])\.1\.", lambda match: f"trunk.compression_{int(match[1]) - 2}.norm."),
    (r"^(spp\.scale[1-4])\.([13])\.", lambda match: f"{match[1]}.{int(match[2]) - 1}."),
    (r"^(spp\.\w+)\.0\.", r"\1.norm."),
    (r"^(spp\.\w+)\.2\.", r"\1.conv."),
    (r"^spp\.scale(\d)\.", r"spp.scales.\1."),
    (r"^spp\.scale_process\.", "spp.processes."),
    (r"^spp\.process(\d)\.", lambda match: f"spp.processes.{int(match[1]) - 1}."),
    (r"^spp\.", "trunk.spp."),
    (r"^(final_layer|seghead_\w+)\.bn1\.", r"\1.conv.norm."),
    (r"^(final_layer|seghead_\w+)\.conv1\.", r"\1.conv.conv."),
    (r"^(final_layer|seghead_\w+)\.bn2\.", r"\1.norm."),
    (r"^(final_layer|seghead_\w+)\.conv2\.", r"\1.classifier."),
    (r"^final_layer\.", "head."),
)


def without_stem_bias(state: Mapping[str, Tensor]) -> State:
    """The biases of PIDNet's and DDRNet's first two convolutions, moved into the norms after them.

    The authors' files prefix the network's keys with "model." and hold their loss's class weights
    beside it, which are left out.
    """
    own = {key[len("model.") :]: value for key, value in state.items() if key[:6] == "model."}
    result = own or dict(state)
    for conv, norm in (("conv1.0", "conv1.1"), ("conv1.3", "conv1.4")):
        if (bias := result.pop(f"{conv}.bias", None)) is not None:
            mean = f"{norm}.running_mean"
            result[mean] = result[mean] - bias
    return result


MMSEG = Layout(
    "mmsegmentation",
    (r"^decode_head\.conv_seg\.weight$", r"^backbone\.(backbone\.)?layer4\."),
    (
        *RESIDUAL,
        (r"^backbone\.(backbone\.)?(stem\.|layer\d)", r"trunk.\2"),
        (r"^(trunk\.stem\.)(\d)\.", _third),
        (r"^(?:backbone|decode_head)\.psp_modules\.(\d)\.1\.", r"pyramid.branches.\1."),
        (r"^backbone\.psp_bottleneck\.", "context."),
        (r"^backbone\.conv_sub1\.", "high."),
        (r"^backbone\.conv_sub2\.", "middle."),
        (r"^backbone\.conv_sub4\.", "low."),
        (r"^neck\.cff_24\.conv_", "fuse_16."),
        (r"^neck\.cff_12\.conv_", "fuse_8."),
        (r"^decode_head\.(convs\.0|bottleneck)\.", "head.conv."),
        (r"^decode_head\.conv_seg\.", "head.classifier."),
        (r"^auxiliary_head\.(0\.|(?=1\.))convs\.0\.", "aux_16.conv."),
        (r"^auxiliary_head\.0\.conv_seg\.", "aux_16.classifier."),
        (r"^auxiliary_head\.(1\.)?convs\.0\.", "aux_8.conv."),
        (r"^auxiliary_head\.(1\.)?conv_seg\.", "aux_8.classifier."),
        (r"\.bn\.", ".norm."),
    ),
)

SEMSEG = Layout(
    "hszhao/semseg",
    (r"^ppm\.features\.0\.1\.weight$", r"^cls\.4\.weight$"),
    (
        *RESIDUAL,
        (r"^(layer[1-4]\.)", r"trunk.\1"),
        (r"^layer0\.(?=\d)", "trunk.stem."),
        (r"^(trunk\.stem\.)(\d)\.", _third),
        (r"^ppm\.features\.(\d)\.1\.", r"pyramid.branches.\1.conv."),
        (r"^ppm\.features\.(\d)\.2\.", r"pyramid.branches.\1.norm."),
        (r"^cls\.", "head."),
        (r"^aux\.", "aux_8."),
        (r"^(head|aux_8)\.0\.", r"\1.conv.conv."),
        (r"^(head|aux_8)\.1\.", r"\1.conv.norm."),
        (r"^(head|aux_8)\.4\.", r"\1.classifier."),
    ),
)

DRSLEEP = Layout(
    "DrSleep/light-weight-refinenet, residual trunk",
    (r"^p_ims1d2_outl1_dimred\.weight$", r"^clf_conv\.weight$"),
    (
        *RESIDUAL,
        (r"^(layer\d\.)", r"trunk.\1"),
        (r"^conv1\.", "trunk.stem.0.conv."),
        (r"^bn1\.", "trunk.stem.0.norm."),
        (r"^(p_ims1d2_outl)(\d)(_dimred)", _lowered(1)),
        (r"^p_ims1d2_outl(\d)_dimred", r"stages.\1.laterals.0.0"),
        (r"^(adapt_stage)(\d)(_b2_joint_varout_dimred)", _lowered(1)),
        (r"^adapt_stage(\d)_b2_joint_varout_dimred", r"stages.\1.laterals.0.1"),
        (r"^(mflow_conv_g)(\d)(_)", _lowered(1)),
        (r"^mflow_conv_g(\d)_b3_joint_varout_dimred", r"stages.\1.project"),
        (r"^(mflow_conv_g\d_pool\.0\.)(\d)(_outvar_dimred)", _lowered(1)),
        (r"^mflow_conv_g(\d)_pool\.0\.(\d)_outvar_dimred", r"stages.\1.chain.links.\2"),
        (r"^clf_conv\.", "classifier."),
    ),
)

# Feature `layerN` enters by convN: the two coarsest together, then one by one.
_MBV2_LATERALS = {8: "0.laterals.0", 7: "0.laterals.1", 6: "1.laterals.0", 5: "1.laterals.1",
                  4: "2.laterals.0", 3: "3.laterals.0"}  # fmt: skip

DRSLEEP_MBV2 = Layout(
    "DrSleep/light-weight-refinenet, MobileNet-v2",
    (r"^conv_adapt4\.weight$", r"^segm\.weight$"),
    (
        (r"^(layer)(\d)(\.\d\.output)", _lowered(2)),
        (r"^layer(\d)\.(\d)\.output\.0\.", r"trunk.layers.\1.\2.expand."),
        (r"^layer(\d)\.(\d)\.output\.1\.", r"trunk.layers.\1.\2.depthwise."),
        (r"^layer(\d)\.(\d)\.output\.2\.", r"trunk.layers.\1.\2.project."),
        (r"^layer1\.", "trunk.stem."),
        (r"^(trunk\..*)\.0\.(?=\w+$)", r"\1.conv."),
        (r"^(trunk\..*)\.1\.(?=\w+$)", r"\1.norm."),
        (r"^conv(\d)\.", lambda match: f"stages.{_MBV2_LATERALS[int(match[1])]}.0."),
        (r"^conv_adapt(\d)\.", lambda match: f"stages.{4 - int(match[1])}.project."),
        (
            r"^crp(\d)\.0\.(\d)_outvar_dimred\.",
            lambda match: f"stages.{4 - int(match[1])}.chain.links.{int(match[2]) - 1}.",
        ),
        (r"^segm\.", "classifier."),
    ),
)

_CAFFE_CONVS = {"1x1_reduce": "conv1", "3x3": "conv2", "1x1_increase": "conv3",
                "1x1_proj": "shortcut"}  # fmt: skip


def _caffe_block(match: re.Match[str]) -> str:
    stage, block, part = int(match[1]) - 1, int(match[2]) - 1, _CAFFE_CONVS[match[3]]
    return f"trunk.layer{stage}.{block}.{part}"


CAFFE = Layout(
    "hszhao/ICNet",
    (r"^conv6_cls\.weight$", r"^conv3_1_sub2_proj\.weight$"),
    (
        (r"/bn\.", ".norm."),
        (r"^(?!conv6_cls|aux_)(\w+)\.(weight|bias)$", r"\1.conv.\2"),
        (r"^conv3_1_sub2_proj", "fuse_16.high"),
        (r"^conv3_sub1_proj", "fuse_8.high"),
        (r"^(conv)(\d)(_sub1)", _lowered(1)),
        (r"^conv(\d)_sub1", r"high.\1"),
        (r"^conv_sub4", "fuse_16.low"),
        (r"^conv_sub2", "fuse_8.low"),
        (r"^conv5_4_k1", "context"),
        (r"^(conv1_)(\d)(_3x3(?:_s2)?)", _lowered(1)),
        (r"^conv1_(\d)_3x3(_s2)?", r"trunk.stem.\1"),
        (r"^conv(\d)_(\d)_(1x1_reduce|3x3|1x1_increase|1x1_proj)", _caffe_block),
        (r"^conv6_cls\.", "classifier."),
    ),
)

TORCHVISION = Layout(
    "torchvision ResNet, or one with a stem of three convolutions (v1c)",
    (r"^layer4\.0\.conv1\.weight$", r"^(conv1|stem\.0)\.weight$"),
    (
        *RESIDUAL,
        (r"^(layer\d\.)", r"trunk.\1"),
        (r"^(conv)(\d)(\.)", _lowered(1)),
        (r"^conv(\d)\.", r"trunk.stem.\1.conv."),
        (r"^(bn)(\d)(\.)", _lowered(1)),
        (r"^bn(\d)\.", r"trunk.stem.\1.norm."),
        (r"^(stem\.)(\d)\.", _third),
        (r"^stem\.", "trunk.stem."),
    ),
)

# torchvision counts blocks through; stages of this many blocks start here.
_MBV2_STARTS = (1, 2, 4, 7, 11, 14, 17)
_MBV2_PARTS = {"0.0": "expand.conv", "0.1": "expand.norm", "1.0": "depthwise.conv",
               "1.1": "depthwise.norm", "2": "project.conv", "3": "project.norm"}  # fmt: skip


def _torchvision_block(match: re.Match[str]) -> str:
    index, part = int(match[1]), match[2]
    if index == 1:  # without an expansion: what stands second elsewhere stands first
        part = {"0.0": "1.0", "0.1": "1.1", "1": "2", "2": "3"}.get(part, part)
    stage = max(s for s, start in enumerate(_MBV2_STARTS) if start <= index)
    block = index - _MBV2_STARTS[stage]
    return f"trunk.layers.{stage}.{block}.{_MBV2_PARTS.get(part, part)}."


TORCHVISION_MBV2 = Layout(
    "torchvision MobileNet-v2",
    (r"^features\.0\.0\.weight$", r"^features\.17\.conv\.3\.weight$"),
    (
        (r"^features\.0\.0\.", "trunk.stem.conv."),
        (r"^features\.0\.1\.", "trunk.stem.norm."),
        (r"^features\.(\d+)\.conv\.(\d(?:\.\d)?)\.", _torchvision_block),
    ),
)
