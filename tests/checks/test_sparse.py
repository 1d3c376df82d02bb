"""The share of cells that the sparse head computes, and what is said of its latency."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny import tiny_bundle

from artoolkit.checks import sparse
from artoolkit.checks.sparse import disagreeing_share, limits_of_latency
from artoolkit.errors import MissingLibraryError


def test_the_share_of_cells_counts_a_border_once_a_row() -> None:
    scores = np.zeros((1, 2, 5, 5), np.float32)
    assert disagreeing_share(scores) == 0
    scores[:, 1, :, 3:] = 1
    assert disagreeing_share(scores) == pytest.approx(4 / 16)


def test_noise_is_computed_everywhere() -> None:
    noise = np.random.default_rng(0).standard_normal((1, 19, 30, 30), np.float32)
    assert disagreeing_share(noise) > 0.99


def test_latency_says_for_which_images_it_holds(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    bundle = tiny_bundle(tmp_path / "bundle")
    text = limits_of_latency(bundle, bundle, [bundle.golden()["images"][:1]])
    share = text.split("computed ")[1].split(" %")[0]
    assert 0 <= float(share) <= 100
    assert text.count(f"{share} %") == 2


def test_without_onnx_the_share_is_said_to_be_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> float:
        raise MissingLibraryError("onnx is missing")

    monkeypatch.setattr(sparse, "computed_share", missing)
    bundle = tiny_bundle(tmp_path / "bundle")
    assert "not known without onnx" in limits_of_latency(bundle, bundle, [])
