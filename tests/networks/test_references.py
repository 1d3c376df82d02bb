"""Every public network, reproduced after import: scores to 1e-4 of the largest, classes equal."""

import numpy as np
import pytest
import torch
from public_reference import reference
from torch.nn import functional

from artoolkit.networks import build
from artoolkit.networks.checkpoint import load_strictly
from artoolkit.networks.published import convert, load_trunk

# file -> network, layout, and whether its values are the raw scores (else at the image's size)
PUBLIC = {
    "caffe_icnet": ("icnet", "caffe", True),
    "mmseg_icnet_r18": ("icnet_r18", "mmseg", False),
    "mmseg_icnet_r50": ("icnet_r50", "mmseg", False),
    "mmseg_icnet_r101": ("icnet_r101", "mmseg", False),
    "drsleep_rf_lw50": ("refinenet_lw50", "drsleep", True),
    "drsleep_rf_lw101": ("refinenet_lw101", "drsleep", True),
    "drsleep_rf_lw152": ("refinenet_lw152", "drsleep", True),
    "drsleep_rf_lwmbv2": ("refinenet_lw_mbv2", "drsleep", True),
    "mmseg_pspnet_r50": ("pspnet50", "mmseg", False),
    "mmseg_pspnet_r101": ("pspnet101", "mmseg", False),
    "semseg_pspnet50": ("pspnet50", "semseg", False),
    "semseg_pspnet101": ("pspnet101", "semseg", False),
    "mmseg_pidnet_s": ("pidnet_s", "mmseg", False),
    "mmseg_pidnet_m": ("pidnet_m", "mmseg", False),
    "mmseg_pidnet_l": ("pidnet_l", "mmseg", False),
    "xujiacong_pidnet_s": ("pidnet_s", "xujiacong", True),
    "mmseg_ddrnet_23_slim": ("ddrnet_23_slim", "mmseg", False),
    "mmseg_ddrnet_23": ("ddrnet_23", "mmseg", False),
    "ydhonghit_ddrnet_23_slim": ("ddrnet_23_slim", "ydhonghit", True),
    "mmseg_bisenetv1_r18": ("bisenetv1_r18", "mmseg", False),
    "mmseg_bisenetv2": ("bisenetv2", "mmseg", False),
    "coincheung_bisenetv2": ("bisenetv2", "coincheung", False),
    "mmseg_stdc1": ("stdc1", "mmseg", False),
    "mmseg_stdc2": ("stdc2", "mmseg", False),
    "mmseg_fastscnn": ("fast_scnn", "mmseg", False),
    "mmseg_segformer_b0": ("segformer_b0", "mmseg", False),
    "mmseg_segformer_b1": ("segformer_b1", "mmseg", False),
    "transformers_segformer_b0": ("segformer_b0", "transformers", True),
}
RELATIVE = 1e-4
# 1e-5 instead of 1e-6 as LayerNorm's epsilon moves SegFormer's scores by 5e-6 only.
RELATIVE_SEGFORMER = 2e-6
SLOW = {"caffe_icnet", "mmseg_icnet_r101", "drsleep_rf_lw101", "drsleep_rf_lw152",
        "mmseg_pspnet_r101", "semseg_pspnet101"}  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in PUBLIC],
)
def test_imported_weights_compute_what_they_did(name: str) -> None:
    network_name, layout, raw = PUBLIC[name]
    expected = reference(name)
    with torch.device("meta"):
        network = build(network_name, num_classes=expected.classes, layout=layout)
    network = network.to_empty(device="cpu").eval()
    load_strictly(network, convert(expected.state(), layout), name)
    with torch.inference_mode():
        scores = network(expected.image)
        if not raw:
            scores = functional.interpolate(
                scores, expected.size_hw, mode="bilinear", align_corners=network.align_corners
            )
    assert tuple(scores.shape) == (1, expected.classes, *expected.size_hw)
    relative = RELATIVE_SEGFORMER if "segformer" in name else RELATIVE
    tolerance = relative * np.abs(expected.value).max()
    np.testing.assert_allclose(
        scores.flatten().numpy()[expected.index], expected.value, rtol=0, atol=tolerance
    )
    classes = scores[0].argmax(0)[::4, ::4].numpy()
    best = scores[0].topk(2, dim=0).values[:, ::4, ::4]
    tied = (best[0] - best[1]).numpy() <= 2 * tolerance
    assert ((classes == expected.argmax) | tied).all()
    assert tied.mean() < 0.01


@pytest.mark.parametrize("lite", [0, 2])
def test_the_efficientnet_lite_trunk_computes_what_the_package_does(lite: int) -> None:
    """Odd sides on the way: TensorFlow's padding depends on them."""
    expected = reference(f"efficientnet_lite{lite}")
    network = build(f"refinenet_lw_efficientnet_lite{lite}", num_classes=3).eval()
    load_trunk(network, expected.state())
    with torch.inference_mode():
        *_, last = network.trunk(expected.image)
    assert tuple(last.shape[-2:]) == expected.size_hw
    tolerance = 1e-5 * np.abs(expected.value).max()
    found = last.flatten().numpy()[expected.index]
    np.testing.assert_allclose(found, expected.value, rtol=0, atol=tolerance)
