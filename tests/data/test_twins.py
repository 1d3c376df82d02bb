"""One image in two splits, as a copy of the file or written anew."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from artoolkit.data import open_dataset
from artoolkit.data.check import check_dataset
from artoolkit.data.image_files import write_png


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """CamVid of two images a split, all different."""
    random = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in "ab":
            labels = np.kron(random.integers(0, 11, (8, 8)), np.ones((8, 8))).astype(np.uint8)
            pixels = np.stack([labels * 20, labels * 9, 255 - labels], -1)
            write_png(pixels, tmp_path / "images" / split / f"{split}{name}.png")
            write_png(labels, tmp_path / "labels" / split / f"{split}{name}.png")
    return tmp_path


def shared(root: Path) -> list[str]:
    reports = check_dataset(open_dataset("camvid", root))
    return [w for report in reports for w in report.warnings if "as well" in w]


def test_different_images_are_not_shared(root):
    assert shared(root) == []


def test_a_copy_under_another_name_is_found(root):
    for part in ("images", "labels"):
        shutil.copy(root / part / "train" / "traina.png", root / part / "val" / "other.png")
    (warning,) = shared(root)
    assert warning.startswith("1 image of val in train as well")
    assert "other.png" in warning
    assert "traina.png" in warning


def test_a_copy_is_found_without_its_label(root):
    shutil.copy(root / "images" / "train" / "traina.png", root / "images" / "val" / "other.png")
    assert len(shared(root)) == 1


@pytest.mark.parametrize("options", [{"quality": 80}, {"quality": 40}])
def test_an_image_saved_anew_is_found_by_its_label(root, options):
    source = Image.open(root / "images" / "train" / "traina.png")
    source.save(root / "images" / "val" / "other.jpg", **options)
    shutil.copy(root / "labels" / "train" / "traina.png", root / "labels" / "val" / "other.png")
    assert len(shared(root)) == 1


def test_equal_labels_of_unlike_images_are_no_copy(root):
    shutil.copy(root / "labels" / "train" / "traina.png", root / "labels" / "val" / "vala.png")
    assert shared(root) == []
