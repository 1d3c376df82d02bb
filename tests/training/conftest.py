"""A data set in memory, and a recipe small enough to train in a second."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from streets import Streets

from artoolkit.training.recipe import Recipe, recipe_from_values

TINY = {
    "name": "tiny",
    "seed": 3,
    "network": {"name": "icnet", "options": {"width": 0.125}},
    "augmentation": {"crop": [32, 48], "scale": [0.5, 2.0], "contrast": 0.2},
    "schedule": {"epochs": 2, "batch_size": 2},
    "optimizer": {"lr": 0.02},
    "execution": {"precision": "fp32"},
}


@pytest.fixture(scope="session")
def tiny() -> Callable[..., Recipe]:
    """The recipe with values replaced: tiny({"seed": 4})."""

    def make(changes: dict[str, object] | None = None) -> Recipe:
        return recipe_from_values(TINY, "tiny", changes=changes)

    return make


@pytest.fixture(scope="session")
def streets() -> Streets:
    return Streets()
