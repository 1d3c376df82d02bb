"""Every kind of damage is found and named; a whole set is counted."""

import numpy as np
import pytest

from artoolkit.data import open_dataset
from artoolkit.data.check import check_dataset
from artoolkit.data.pictures import write_png
from artoolkit.errors import DataError


@pytest.fixture
def root(tmp_path, image):
    for split, names in (("train", "abcd"), ("val", "ef")):
        for name in names:
            write_png(image, tmp_path / "images" / split / f"{name}.png")
            ids = np.full((6, 8), 3, np.uint8)
            ids[0, :2] = 11
            write_png(ids, tmp_path / "labels" / split / f"{name}.png")
    return tmp_path


def check(root, **options):
    return check_dataset(open_dataset("camvid", root), **options)


def test_a_whole_set_is_counted(root):
    seen = []
    train, val = check(root, progress=lambda *counts: seen.append(counts))
    assert (train.split, train.images, train.labels, train.problems) == ("train", 4, 4, ())
    assert train.sizes_hw == {(6, 8): 4}
    assert train.class_pixels.tolist() == [0, 0, 0, 4 * 46, *[0] * 7, 4 * 2]
    assert val.class_images.tolist() == [0, 0, 0, 2, *[0] * 7, 2]
    assert seen == [(i, 6) for i in range(1, 7)]


@pytest.mark.parametrize("workers", [1, 3])
def test_every_damage_is_named_at_once(root, image, workers):
    labels, images = root / "labels" / "train", root / "images" / "train"
    (labels / "a.png").unlink()
    (images / "b.png").unlink()
    whole = (images / "c.png").read_bytes()
    (images / "c.png").write_bytes(whole[: len(whole) // 2])
    write_png(np.full((5, 8), 12, np.uint8), labels / "c.png")
    write_png(np.full((5, 8), 3, np.uint8), labels / "d.png")
    train, val = check(root, workers=workers)
    assert val.problems == ()
    expected = [
        rf"image {images / 'a.png'} has no label",
        rf"label {labels / 'b.png'} has no image",
        rf"image {images / 'c.png'} cannot be read",
        rf"label {labels / 'c.png'} holds ids that camvid does not have; got id 12",
        rf"label {labels / 'd.png'} is 5 x 8, its image 6 x 8",
    ]
    assert len(train.problems) == len(expected)
    for found, start in zip(train.problems, expected, strict=True):
        assert found.startswith(start)


def test_one_split_can_be_checked_alone(root):
    (root / "labels" / "train" / "a.png").unlink()
    (val,) = check(root, splits=("val",))
    assert val.problems == ()
    with pytest.raises(DataError, match="has no split test"):
        check(root, splits=("test",))


def test_a_split_without_labels_is_no_problem_but_one_without_images_is(root, image):
    write_png(image, root / "images" / "test" / "g.png")
    *_, test = check(root)
    assert (test.labels, test.problems) == (0, ())
    (root / "images" / "test" / "g.png").unlink()
    *_, test = check(root)
    assert test.problems == ("split test has no image",)


def test_a_missing_root_stops_the_check(tmp_path):
    with pytest.raises(DataError, match="no data set at"):
        check(tmp_path / "gone")
