"""Names, layouts and options; what a network declares about itself is true."""

import pytest
import torch

from artoolkit.errors import UsageError
from artoolkit.networks import NETWORKS, build
from artoolkit.networks.complexity import macs, parameter_count
from artoolkit.preprocess import Preprocess


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"got 'icnett'.*Did you mean icnet"):
        build("icnett", num_classes=19)


def test_unknown_layout_and_option_are_named() -> None:
    with pytest.raises(UsageError, match="icnet has no layout 'semseg'; expected one of caffe"):
        build("icnet", num_classes=19, layout="semseg")
    with pytest.raises(UsageError, match="no option depth, kernel; expected width, pooling"):
        build("icnet", num_classes=19, kernel=3, depth=2)
    with pytest.raises(UsageError, match="got 1; expected at least 2"):
        build("icnet", num_classes=1)


@pytest.mark.parametrize("name", NETWORKS)
def test_declared_prefixes_exist_and_the_meta_device_suffices(name: str) -> None:
    with torch.device("meta"):
        network = build(name, num_classes=7)
    keys = list(network.state_dict())
    for prefix in (*network.encoder, *network.training_only):
        assert any(key.startswith(prefix) for key in keys), prefix
    assert network.name == name
    assert network.num_classes == 7


@pytest.mark.parametrize("name", NETWORKS)
def test_scores_lie_at_the_declared_stride_for_any_size(name: str) -> None:
    network = build(name, num_classes=3, width=0.0625).eval()
    stride = network.output_stride
    for size_hw in (network.minimum_hw, (65, 97), (90, 120)):
        with torch.inference_mode():
            scores = network(torch.zeros(1, 3, *size_hw))
        assert scores.shape == (1, 3, *(-(-side // stride) for side in size_hw))


@pytest.mark.parametrize("name", NETWORKS)
def test_first_scores_are_near_equal(name: str) -> None:
    """So that training starts with a loss near log(classes), whatever the depth."""
    torch.manual_seed(0)
    network = build(name, num_classes=3, width=0.0625)
    with torch.no_grad():
        outputs = network(torch.randn(2, 3, 64, 96))
    for scores in outputs.values():
        assert 0 < scores.std() < 0.5


@pytest.mark.parametrize("name", NETWORKS)
def test_narrow_networks_train_in_bfloat16(name: str) -> None:
    torch.manual_seed(0)
    network = build(name, num_classes=3, width=0.0625)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = network(torch.randn(2, 3, 64, 96).to(memory_format=torch.channels_last))
        loss = sum(scores.float().square().mean() for scores in outputs.values())
    assert {"main", *network.aux_weights} <= set(outputs)
    assert {f"{name}." for name in outputs} - {"main."} == set(network.training_only)
    for name, scores in outputs.items():
        assert scores.shape[:2] == (2, {"boundary": 1, "detail": 2}.get(name, 3))
    loss.backward()
    assert [key for key, p in network.named_parameters() if p.grad is None] == []
    assert all(p.grad.isfinite().all() for p in network.parameters())


def test_the_published_caffe_network_brings_its_input_convention() -> None:
    network = build("icnet", num_classes=19, layout="caffe")
    assert network.preprocess == Preprocess(
        mean=(103.939, 116.779, 123.68), std=(1, 1, 1), channel_order="bgr"
    )
    assert network.pyramid.windows == "caffe"
    assert build("icnet", num_classes=19).pyramid.windows == "adaptive"


# M parameters (inference) and GMAC, as counted from the public code: networks.md of the design.
# PSPNet-101's are those of hszhao's layout; mmsegmentation's has a smaller stem.
FACTS = [
    ("icnet", None, 6.70, 29.8, (1025, 2049), 19),
    ("icnet", "caffe", 6.70, 29.8, (1025, 2049), 19),
    ("icnet_r50", "mmseg", 47.5, 122.0, (1024, 2048), 19),
    ("refinenet_lw50", "drsleep", 27.4, 37.4, (468, 625), 40),
    ("refinenet_lw101", "drsleep", 46.4, 60.2, (468, 625), 40),
    ("refinenet_lw152", "drsleep", 62.0, 82.7, (468, 625), 40),
    ("refinenet_lw_mbv2", "drsleep", 3.33, 10.5, (468, 625), 40),
    ("pspnet101", "semseg", 65.7, 517, (713, 713), 19),
]


@pytest.mark.parametrize(("name", "layout", "millions", "giga", "size_hw", "classes"), FACTS)
def test_parameters_and_multiply_adds_are_the_published_ones(
    name: str,
    layout: str | None,
    millions: float,
    giga: float,
    size_hw: tuple[int, int],
    classes: int,
) -> None:
    with torch.device("meta"):
        network = build(name, num_classes=classes, layout=layout)
    assert parameter_count(network) / 1e6 == pytest.approx(millions, abs=0.05)
    assert macs(network, size_hw) / 1e9 == pytest.approx(giga, rel=0.01)
    assert network.training


# M parameters of inference and with the training heads, and GMAC: networks-frontier.md.
FRONTIER = {
    "pidnet_s": (7.626, 7.721, 47.2),
    "pidnet_m": (28.538, 28.763, 177.3),
    "pidnet_l": (36.939, 37.314, 274.9),
    "ddrnet_23_slim": (5.696, 5.734, 36.3),
    "ddrnet_23": (20.149, 20.299, 143.1),
    "bisenetv1_r18": (13.276, 13.426, 118.3),
    "bisenetv2": (3.359, 14.804, 98.4),
    "stdc1": (8.275, 8.573, 67.5),
    "stdc2": (12.306, 12.603, 93.8),
    "fast_scnn": (1.400, 1.457, 7.25),
    "segformer_b0": (3.720, 3.720, 121.0),
    "segformer_b1": (13.683, 13.683, 239.1),
}


@pytest.mark.parametrize("name", FRONTIER)
def test_todays_networks_have_the_counts_of_the_public_code(name: str) -> None:
    """To the last digit of the table: a bias too many in one layer is more than that."""
    inference, training, giga = FRONTIER[name]
    with torch.device("meta"):
        network = build(name, num_classes=19, layout="mmseg")
    whole = sum(parameter.numel() for parameter in network.parameters())
    assert parameter_count(network) / 1e6 == pytest.approx(inference, abs=0.00051)
    assert whole / 1e6 == pytest.approx(training, abs=0.00051)
    assert macs(network, (1024, 2048)) / 1e9 == pytest.approx(giga, abs=0.051)


def test_multiply_adds_by_hand() -> None:
    convolution = torch.nn.Conv2d(3, 8, 3, stride=2, padding=1)
    assert macs(convolution, (8, 10)) == 4 * 5 * 8 * 27


def test_initial_scores_in_training_are_near_equal() -> None:
    torch.manual_seed(0)
    scores = build("icnet", num_classes=19, width=0.125)(torch.randn(2, 3, 64, 64))["main"]
    assert scores.std() < 0.3
    assert torch.get_default_dtype() is scores.dtype
