from __future__ import annotations

import numpy as np
import pytest

from artoolkit.labels import VOID
from artoolkit.training.recipe import Augmentation
from artoolkit.training.transforms import Transform

FILL = (9, 8, 7)


def scene(height: int = 24, width: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """An image that says where each pixel was: red = row, green = column, blue = 100."""
    rows, columns = np.mgrid[:height, :width].astype(np.uint8)
    image = np.stack([rows, columns, np.full_like(rows, 100)], -1)
    return image, (rows // 8 * 4 + columns // 8).astype(np.uint8)


def apply(seed: int = 0, **settings: object) -> tuple[np.ndarray, np.ndarray]:
    transform = Transform(Augmentation.model_validate(settings), FILL)
    return transform(*scene(), np.random.default_rng(seed))


def test_nothing_asked_for_changes_nothing() -> None:
    image, labels = apply(crop=(24, 32), flip=0.0)
    np.testing.assert_array_equal(image, scene()[0])
    np.testing.assert_array_equal(labels, scene()[1])


def test_a_flip_mirrors_both() -> None:
    image, labels = apply(crop=(24, 32), flip=1.0)
    np.testing.assert_array_equal(image, scene()[0][:, ::-1])
    np.testing.assert_array_equal(labels, scene()[1][:, ::-1])
    assert image.flags.c_contiguous
    assert labels.flags.c_contiguous


@pytest.mark.parametrize("seed", range(8))
def test_a_crop_is_a_part_of_the_image_with_its_own_labels(seed: int) -> None:
    image, labels = apply(seed, crop=(10, 12), flip=0.0)
    top, left = image[0, 0, :2]
    np.testing.assert_array_equal(image, scene()[0][top : top + 10, left : left + 12])
    np.testing.assert_array_equal(labels, scene()[1][top : top + 10, left : left + 12])


def test_crops_reach_every_corner() -> None:
    corners = {tuple(apply(seed, crop=(22, 30), flip=0.0)[0][0, 0, :2]) for seed in range(100)}
    assert corners == {(top, left) for top in range(3) for left in range(3)}


def test_outside_the_image_is_the_fill_colour_and_void() -> None:
    image, labels = apply(crop=(30, 40), flip=0.0)
    outside = labels == VOID
    assert outside.sum() == 30 * 40 - 24 * 32
    assert (image[outside] == FILL).all()
    inside = image[~outside].reshape(24, 32, 3)
    np.testing.assert_array_equal(inside, scene()[0])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("scale", [0.5, 0.73, 1.6, 2.0])
def test_labels_stay_with_their_pixels_at_any_scale(scale: float, seed: int) -> None:
    image, labels = apply(seed, crop=(16, 20), scale=(scale, scale), flip=0.0)
    assert image.shape == (16, 20, 3)
    inside = (labels != VOID) & (image[..., 2] == 100)
    assert inside.sum() > 16 * 20 / 4
    # The image itself says where a pixel comes from; a label must be that of the place, but for
    # the rounding of the colours, and the label's own, at a border between two labels.
    row, column = image[inside][:, 0].astype(float), image[inside][:, 1].astype(float)
    expected = np.rint(row - 0.01) // 8 * 4 + np.rint(column - 0.01) // 8
    near_border = (np.abs((row + 0.5) % 8 - 4) > 2.9) | (np.abs((column + 0.5) % 8 - 4) > 2.9)
    assert (labels[inside] == expected)[~near_border].all()
    assert near_border.mean() < 0.7


def test_doubling_repeats_every_label_twice() -> None:
    # OpenCV's other nearest neighbour would start half a pixel off.
    _, labels = apply(crop=(48, 64), scale=(2.0, 2.0), flip=0.0)
    np.testing.assert_array_equal(labels, scene()[1].repeat(2, 0).repeat(2, 1))


def test_no_label_is_invented_by_any_change() -> None:
    known = {*np.unique(scene()[1]).tolist(), VOID}
    for seed in range(20):
        _, labels = apply(seed, crop=(20, 20), scale=(0.4, 2.5), rotate_degrees=20, blur=1.0)
        assert set(np.unique(labels).tolist()) <= known
        assert labels.dtype == np.uint8


def test_a_rotation_leaves_fill_and_void_in_the_corners() -> None:
    turned = [apply(seed, crop=(24, 32), flip=0.0, rotate_degrees=40) for seed in range(5)]
    image, labels = max(turned, key=lambda pair: int((pair[1] == VOID).sum()))
    assert (labels == VOID).mean() > 0.1
    assert labels[0, 0] == VOID
    assert tuple(image[0, 0]) == FILL
    assert (labels[10:14, 14:18] != VOID).all()


def test_brightness_contrast_and_saturation_stay_within_their_limits() -> None:
    original = scene()[0].astype(float)
    for seed in range(10):
        image, labels = apply(seed, crop=(24, 32), flip=0.0, brightness=0.2)
        assert (np.abs(image - original) <= 0.2 * original + 0.5).all()
        np.testing.assert_array_equal(labels, scene()[1])
    grey = np.full((24, 32, 3), 77, np.uint8)
    settings = Augmentation(crop=(24, 32), flip=0, saturation=0.5)
    image, _ = Transform(settings, FILL)(grey, scene()[1], np.random.default_rng(0))
    np.testing.assert_array_equal(image, grey)


def test_contrast_keeps_the_mean_and_changes_the_spread() -> None:
    spreads = []
    for seed in range(6):
        image, _ = apply(seed, crop=(24, 32), flip=0.0, contrast=0.5)
        assert abs(float(image.mean()) - float(scene()[0].mean())) < 4
        spreads.append(float(image.std()))
    assert max(spreads) > 1.1 * float(scene()[0].std()) > 1.2 * min(spreads)


def test_saturation_and_blur_change_a_coloured_image() -> None:
    for settings in ({"saturation": 0.5}, {"blur": 1.0}):
        image, _ = apply(1, crop=(24, 32), flip=0.0, **settings)
        assert (image != scene()[0]).any()


def test_the_source_is_left_alone() -> None:
    image, labels = scene()
    image.flags.writeable = labels.flags.writeable = False
    settings = Augmentation(crop=(16, 16), scale=(0.5, 2), contrast=0.3, saturation=0.3)
    Transform(settings, FILL)(image, labels, np.random.default_rng(0))
    np.testing.assert_array_equal(image, scene()[0])
