"""A baseline bundle and a candidate of the same tiny network with other weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from artoolkit.bundle import Bundle
from measure.tiny import tiny_bundle


@pytest.fixture
def baseline(tmp_path: Path) -> Bundle:
    return tiny_bundle(tmp_path / "baseline")


@pytest.fixture
def candidate(tmp_path: Path) -> Bundle:
    return tiny_bundle(tmp_path / "candidate", seed=1)
