"""The deployed module against numpy: normalisation, upsampling and the head."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from artoolkit.deploy.graph import (
    Deployed,
    LabelsAndScores,
    argmax_labels,
    deployed_module,
    upsampled,
)
from artoolkit.preprocess import Preprocess, normalise
from deploy.tiny_network import CLASSES, seeded_images, target, tiny_checkpoint


@settings(max_examples=50, deadline=None)
@given(
    classes=st.integers(2, 20),
    levels=st.integers(1, 4),
    seed=st.integers(0, 2**31),
)
def test_the_head_says_the_first_maximum_also_where_scores_tie(
    classes: int, levels: int, seed: int
) -> None:
    # Few levels: nearly every pixel has a tie.
    scores = np.random.default_rng(seed).integers(0, levels, (2, classes, 5, 7)).astype(np.float32)
    expected = scores.argmax(1).astype(np.uint8)  # numpy documents: the first occurrence
    labels = argmax_labels(torch.from_numpy(scores))
    assert labels.dtype is torch.uint8
    np.testing.assert_array_equal(labels.numpy(), expected)


@pytest.mark.parametrize(
    "preprocess",
    [Preprocess(), Preprocess(mean=(104, 117, 123.5), std=(1, 2, 3), channel_order="bgr")],
    ids=["rgb", "bgr"],
)
def test_normalisation_is_that_of_preprocess(preprocess: Preprocess) -> None:
    images = seeded_images(2)
    deployed = Deployed(tiny_checkpoint().network(), preprocess, labels_hw=(40, 56))
    result = deployed.normalised(torch.from_numpy(images))
    np.testing.assert_allclose(result.numpy(), normalise(images, preprocess), rtol=1e-5, atol=1e-5)
    assert result.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("align_corners", [True, False])
def test_labels_are_the_argmax_of_the_upsampled_scores(align_corners: bool) -> None:
    checkpoint = tiny_checkpoint()
    network = checkpoint.network()
    network.align_corners = align_corners
    deployed = deployed_module(network, Preprocess(), target(output_size=(33, 61))).eval()
    images = torch.from_numpy(seeded_images(1))
    with torch.inference_mode():
        labels, scores = LabelsAndScores(deployed)(images)
        normal = torch.from_numpy(normalise(images.numpy(), Preprocess()))
        expected = functional.interpolate(
            network(normal), (33, 61), mode="bilinear", align_corners=align_corners
        ).argmax(1)
        np.testing.assert_array_equal(deployed(images).numpy(), labels.numpy())
    assert labels.shape == (1, 33, 61)
    assert scores.shape == (1, CLASSES, 10, 14)
    assert (labels == expected).float().mean() > 0.999
    assert len(labels.unique()) > 1


def test_scores_of_the_label_size_are_not_resized() -> None:
    scores = torch.rand(1, CLASSES, 10, 14)
    assert upsampled(scores, (10, 14), align_corners=False) is scores


def test_fp16_normalises_before_it_rounds() -> None:
    checkpoint = tiny_checkpoint()
    half = deployed_module(checkpoint.network(), Preprocess(), target(precision="fp16"))
    images = seeded_images(1)
    result = half.normalised(torch.from_numpy(images))
    assert result.dtype is torch.float16
    exact = normalise(images, Preprocess())
    # Half a unit in the last place of a value below 4 is 2 ** -10.
    assert np.abs(result.float().numpy() - exact).max() <= 2**-10
