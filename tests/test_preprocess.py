"""The one preprocessing: sizes, order of channels, and that no label is invented."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from artoolkit.preprocess import Preprocess, fill_color, fit_image, fit_labels, normalise

sizes = st.tuples(st.integers(1, 24), st.integers(1, 24))


def pixels(size_hw, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*size_hw, 3), np.uint8)


@given(sizes, sizes)
def test_an_image_is_fitted_to_height_and_width_in_that_order(before, after):
    fitted = fit_image(pixels(before), after)
    assert (fitted.shape, fitted.dtype) == ((*after, 3), np.uint8)


def test_an_image_of_the_right_size_is_not_touched():
    image = pixels((4, 6))
    assert fit_image(image, (4, 6)) is image
    labels = image[..., 0]
    assert fit_labels(labels, (4, 6)) is labels


def test_enlarging_is_bilinear_between_pixel_centres():
    image = np.array([0, 100], np.uint8)[:, None, None].repeat(3, 2)
    assert fit_image(image, (4, 1))[:, 0, 0].tolist() == [0, 25, 75, 100]


def test_shrinking_averages_instead_of_skipping():
    stripes = np.tile(np.array([0, 200], np.uint8), 8)[None, :, None].repeat(4, 0).repeat(3, 2)
    shrunk = fit_image(stripes, (2, 4))
    assert np.abs(shrunk.astype(int) - 100).max() <= 30


@given(sizes, sizes, st.sets(st.integers(0, 255), min_size=1, max_size=5))
def test_fitting_labels_invents_no_id(before, after, ids):
    labels = np.random.default_rng(1).choice(sorted(ids), before).astype(np.uint8)
    fitted = fit_labels(labels, after)
    assert fitted.shape == after
    assert set(np.unique(fitted)) <= ids


@given(sizes, st.integers(1, 4))
def test_labels_enlarged_by_a_whole_factor_come_back(size, factor):
    labels = pixels(size)[..., 0]
    height, width = size
    enlarged = fit_labels(labels, (height * factor, width * factor))
    assert np.array_equal(enlarged, labels.repeat(factor, 0).repeat(factor, 1))
    assert np.array_equal(fit_labels(enlarged, size), labels)


def test_normalising_subtracts_the_mean_and_divides_by_the_deviation():
    spec = Preprocess(mean=(10.0, 20.0, 30.0), std=(1.0, 2.0, 4.0))
    image = np.array([[[11, 24, 50]]], np.uint8)
    normal = normalise(image[None], spec)
    assert (normal.shape, normal.dtype) == ((1, 3, 1, 1), np.float32)
    assert normal.ravel().tolist() == [1.0, 2.0, 5.0]


def test_mean_and_deviation_are_in_the_networks_channel_order():
    spec = Preprocess(mean=(50.0, 24.0, 11.0), std=(1.0, 1.0, 1.0), channel_order="bgr")
    assert normalise(np.array([[[[11, 24, 50]]]], np.uint8), spec).ravel().tolist() == [0, 0, 0]


def test_the_default_is_imagenets_in_units_of_a_byte():
    mean = np.array([0.485, 0.456, 0.406]) * 255
    std = np.array([0.229, 0.224, 0.225]) * 255
    assert Preprocess().mean == pytest.approx(mean)
    assert Preprocess().std == pytest.approx(std)


def test_an_unknown_channel_order_is_refused():
    with pytest.raises(ValidationError, match="channel_order"):
        Preprocess(channel_order="hsv")


def test_the_fill_color_is_the_mean_in_rgb():
    assert fill_color(Preprocess()) == (124, 116, 104)
    bgr = Preprocess(mean=(103.939, 116.779, 123.68), std=(1, 1, 1), channel_order="bgr")
    assert fill_color(bgr) == (124, 117, 104)
