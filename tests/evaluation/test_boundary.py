from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from artoolkit.evaluation.boundary import band_radius, boundary_and_interior, boundary_band
from artoolkit.metrics import confusion_matrix, mean_iou

V = 255


def plain_band(labels: np.ndarray, radius: int) -> np.ndarray:
    """The definition, pixel by pixel."""
    band = np.zeros(labels.shape, bool)
    for y, x in np.ndindex(labels.shape):
        rows = slice(max(0, y - radius), y + radius + 1)
        around = labels[rows, max(0, x - radius) : x + radius + 1]
        band[y, x] = labels[y, x] != V and bool(((around != labels[y, x]) & (around != V)).any())
    return band


@given(
    arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 12)),
           elements=st.sampled_from([0, 1, 254, V])),
    st.integers(1, 6),
)  # fmt: skip
def test_the_band_is_the_definition(labels: np.ndarray, radius: int) -> None:
    np.testing.assert_array_equal(boundary_band(labels, radius), plain_band(labels, radius))


def test_two_classes_side_by_side_by_hand() -> None:
    labels = np.array([[0, 0, 0, 0, 1, 1, V, 0]] * 3, np.uint8)
    expected = [False, False, False, True, True, False, False, False]
    assert boundary_band(labels, 1).tolist() == [expected] * 3
    # Two pixels away, across the void, there is another class again.
    assert boundary_band(labels, 2)[0].tolist() == [False, False, True, True, True, True, False,
                                                    True]  # fmt: skip


def test_trimap_miou_by_hand() -> None:
    labels = np.array([[0, 0, 0, 1, 1, 1]], np.uint8)
    predicted = np.array([[0, 0, 1, 1, 1, 0]], np.uint8)
    boundary, interior = boundary_and_interior(labels, 1)
    assert boundary.tolist() == [[V, V, 0, 1, V, V]]
    assert interior.tolist() == [[0, 0, V, V, 1, 1]]
    near = confusion_matrix(predicted, boundary, num_classes=2)
    # Class 0: nothing right of one; class 1: one right of two that are either.
    assert mean_iou(near) == pytest.approx((0 + 1 / 2) / 2)
    far = confusion_matrix(predicted, interior, num_classes=2)
    assert mean_iou(far) == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_the_radius_follows_the_diagonal() -> None:
    assert [band_radius(size) for size in ((360, 480), (1024, 2048), (8, 8))] == [3, 11, 1]
    labels = np.zeros((360, 480), np.uint8)
    labels[:, 240:] = 1
    assert (boundary_and_interior(labels)[0][0] != V).sum() == 6


@pytest.mark.parametrize(("shape", "radius"), [((4, 4), 0), ((1, 4, 4), 1)])
def test_misuse_is_a_value_error(shape: tuple[int, ...], radius: int) -> None:
    with pytest.raises(ValueError, match="radius of 1 or more"):
        boundary_band(np.zeros(shape, np.uint8), radius)
