from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from streets import Streets

from artoolkit.labels import VOID
from artoolkit.training.class_weights import class_weights, pixel_counts
from artoolkit.training.recipe import Recipe
from artoolkit.training.run import resume, start
from artoolkit.training.state import read_state

Make = Callable[..., Recipe]


class Two(Streets):
    """Image 0: 6 pixels of a, 2 of b; image 1: 8 of a; no pixel of c."""

    def read_label(self, sample):
        labels = np.full((3, 4), VOID, np.uint8)
        labels.flat[:8] = [0, 0, 0, 0, 0, 0, 1, 1] if sample.name.endswith("0") else [0] * 8
        return labels


def test_rules_by_hand() -> None:
    two = Two(count=2)
    samples = two.samples("train")
    assert pixel_counts(two, samples).tolist() == [[6, 2, 0], [8, 0, 0]]
    # Shares 14 / 16 and 2 / 8: weights 1 : 3.5; the class that never occurs has 1.
    median = class_weights("median-frequency", two, samples)
    assert median == pytest.approx((2 / 4.5, 7 / 4.5, 1.0))
    # N = 8 pixels per class.
    raw = 1 / (1 - np.exp(-np.array([14, 2]) / 8))
    effective = class_weights("effective-number", two, samples)
    assert effective == pytest.approx((*(2 * raw / raw.sum()), 1.0))


def test_a_run_computes_them_once_and_says_them(tiny: Make, tmp_path) -> None:
    streets = Streets()
    recipe = tiny({"loss.class_weights": "median-frequency", "schedule.epochs": 1})
    assert start(recipe, streets, tmp_path).finished
    saved = read_state(tmp_path)
    assert saved.recipe.loss.class_weights == "median-frequency"
    expected = class_weights("median-frequency", streets, streets.samples("train"))
    assert tuple(saved.provenance["class_weights"]) == expected
    assert resume(tmp_path, streets).finished


def test_none_by_name_is_none(tiny: Make) -> None:
    assert tiny({"loss.class_weights": "none"}) == tiny()
