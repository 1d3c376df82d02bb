"""A data set in memory, and a recipe small enough to train in a second."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from streets import TINY, Streets

from artoolkit.training.recipe import Recipe, recipe_from_values


@pytest.fixture(scope="session")
def tiny() -> Callable[..., Recipe]:
    """The recipe with values replaced: tiny({"seed": 4})."""

    def make(changes: dict[str, object] | None = None) -> Recipe:
        return recipe_from_values(TINY, "tiny", changes=changes)

    return make


@pytest.fixture(scope="session")
def streets() -> Streets:
    return Streets()
