"""ICNet: shapes at any size, the commuted classifier, training outputs, autocast."""

import pytest
import torch

from artoolkit.networks import build
from artoolkit.networks.blocks import resize
from artoolkit.networks.icnet import ICNet


def tiny(**options: object) -> ICNet:
    torch.manual_seed(0)
    network = build("icnet", num_classes=5, width=0.0625, **options)
    assert isinstance(network, ICNet)
    return network


@pytest.mark.parametrize(
    ("size_hw", "scores_hw"),
    [((64, 128), (16, 32)), ((360, 480), (90, 120)), ((65, 129), (17, 33)), ((33, 47), (9, 12))],
)
def test_scores_lie_at_a_quarter(size_hw: tuple[int, int], scores_hw: tuple[int, int]) -> None:
    with torch.inference_mode():
        scores = tiny().eval()(torch.randn(1, 3, *size_hw))
    assert scores.shape == (1, 5, *scores_hw)


def test_training_returns_named_low_resolution_scores() -> None:
    network = tiny()
    outputs = network(torch.randn(2, 3, 64, 96))
    assert {name: tuple(scores.shape) for name, scores in outputs.items()} == {
        "main": (2, 5, 16, 24), "aux_16": (2, 5, 4, 6), "aux_8": (2, 5, 8, 12)
    }  # fmt: skip
    assert set(network.aux_weights) == set(outputs) - {"main"}
    sum(scores.sum() for scores in outputs.values()).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_classifying_before_the_resize_is_the_published_function() -> None:
    network = tiny().eval().double()
    fused = []
    network.fuse_8.register_forward_hook(lambda *call: fused.append(call[2][0]))
    with torch.inference_mode():
        scores = network(torch.randn(1, 3, 65, 97, dtype=torch.float64))
        published = network.classifier(resize(fused[0], (17, 25), align_corners=True))
    torch.testing.assert_close(scores, published, rtol=1e-12, atol=1e-12)


def test_training_only_parts_do_not_change_the_scores() -> None:
    network = tiny().eval()
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        before = network(image)
        for name, parameter in network.named_parameters():
            if name.startswith(network.training_only):
                parameter.fill_(torch.nan)
        assert torch.equal(network(image), before)


def test_trains_in_bfloat16_channels_last() -> None:
    network = tiny().to(memory_format=torch.channels_last)
    images = torch.randn(2, 3, 64, 96).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        loss = sum(scores.float().square().mean() for scores in network(images).values())
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


def test_caffe_pooling_is_another_function_only_where_bins_do_not_divide() -> None:
    adaptive, caffe = tiny().eval(), tiny(pooling="caffe").eval()
    caffe.load_state_dict(adaptive.state_dict())
    with torch.inference_mode():
        divisible = torch.randn(1, 3, 353, 161)
        torch.testing.assert_close(caffe(divisible), adaptive(divisible), rtol=1e-4, atol=1e-4)
        other = torch.randn(1, 3, 321, 257)
        assert not torch.allclose(caffe(other), adaptive(other), rtol=1e-4, atol=1e-4)


def test_too_small_an_image_is_refused_with_both_sizes() -> None:
    with pytest.raises(ValueError, match=r"31 x 64 pixels; icnet needs at least 32 x 32"):
        tiny()(torch.randn(1, 3, 31, 64))
