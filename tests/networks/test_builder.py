"""Names, layouts and options; what a network declares about itself is true."""

import pytest
import torch

from artoolkit.errors import UsageError
from artoolkit.networks import NETWORKS, build
from artoolkit.networks.complexity import macs, parameter_count
from artoolkit.preprocess import Preprocess


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"got icnett; expected one of icnet, "):
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


def test_the_published_caffe_network_brings_its_input_convention() -> None:
    network = build("icnet", num_classes=19, layout="caffe")
    assert network.preprocess == Preprocess(
        mean=(103.939, 116.779, 123.68), std=(1, 1, 1), channel_order="bgr"
    )
    assert network.pyramid.windows == "caffe"
    assert build("icnet", num_classes=19).pyramid.windows == "adaptive"


# M parameters (inference) and GMAC at H x W with C classes: networks.md.
FACTS = {
    "icnet": (6.70, 29.8, (1025, 2049), 19),
}


@pytest.mark.parametrize("name", FACTS)
def test_parameters_and_multiply_adds_are_the_published_ones(name: str) -> None:
    millions, giga, size_hw, classes = FACTS[name]
    with torch.device("meta"):
        network = build(name, num_classes=classes)
    assert parameter_count(network) / 1e6 == pytest.approx(millions, abs=0.05)
    assert macs(network, size_hw) / 1e9 == pytest.approx(giga, rel=0.01)
    assert network.training


def test_multiply_adds_by_hand() -> None:
    convolution = torch.nn.Conv2d(3, 8, 3, stride=2, padding=1)
    assert macs(convolution, (8, 10)) == 4 * 5 * 8 * 27


def test_initial_scores_in_training_are_near_equal() -> None:
    torch.manual_seed(0)
    scores = build("icnet", num_classes=19, width=0.125)(torch.randn(2, 3, 64, 64))["main"]
    assert scores.std() < 0.3
    assert torch.get_default_dtype() is scores.dtype
