"""Every kind of damage is found and named; a whole set is counted."""

import unicodedata

import numpy as np
import pytest
from PIL import Image

from artoolkit.data import open_dataset
from artoolkit.data.check import check_dataset, glance
from artoolkit.data.image_files import write_png
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
    assert seen == [(4, 6), (6, 6)]


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


def test_a_label_with_two_faults_shows_both(root):
    write_png(np.full((5, 8), 12, np.uint8), root / "labels" / "train" / "a.png")
    (train,) = check(root, splits=("train",))
    assert [p.split(" ", 2)[2][:11] for p in train.problems] == ["holds ids t", "is 5 x 8, i"]
    Image.new("L", (3, 3)).save(root / "labels" / "train" / "a.png", "JPEG")
    (train,) = check(root, splits=("train",))
    assert [p.split(" ", 2)[2][:11] for p in train.problems] == ["is a JPEG: ", "is 3 x 3, i"]


def test_a_label_is_held_to_the_size_that_is_shown(root, image):
    exif = Image.Exif()
    exif[0x112] = 6
    for name in "ab":
        Image.fromarray(image).save(root / "images" / "train" / f"{name}.png", exif=exif)
    write_png(np.full((8, 6), 3, np.uint8), root / "labels" / "train" / "a.png")
    (train,) = check(root, splits=("train",))
    assert train.sizes_hw == {(6, 8): 2, (8, 6): 2}
    (problem,) = train.problems
    assert "b.png is 6 x 8, its image 8 x 6" in problem
    assert "EXIF orientation 6" in problem
    assert train.notes == ("2 images turned by EXIF and read as shown: 2 of orientation 6",)


def fill(root, split, ids):
    for path in (root / "labels" / split).iterdir():
        write_png(np.sort(np.resize(np.array(ids, np.uint8), 48)).reshape(6, 8), path)


@pytest.mark.parametrize("split", ["train", "val"])
def test_classes_without_a_pixel_are_named(root, split):
    fill(root, split, range(1, 10))
    reports = {r.split: r.warnings for r in check(root)}
    (warning,) = [w for w in reports[split] if "without a pixel" in w]
    assert warning == "2 classes without a pixel: sky, bicyclist"
    fill(root, split, range(1, 11))
    assert "class without a pixel: sky" in {r.split: r.warnings for r in check(root)}[split]
    fill(root, split, range(11))
    found = {r.split: r.warnings for r in check(root)}[split]
    assert not [warning for warning in found if "without a pixel" in warning]


def test_a_test_split_may_lack_classes_and_labels(root, image):
    write_png(image, root / "images" / "test" / "g.png")
    assert check(root, splits=("test",))[0].warnings == ()
    write_png(np.full((6, 8), 3, np.uint8), root / "labels" / "test" / "g.png")
    assert check(root, splits=("test",))[0].warnings == ()


def test_a_training_split_without_labels_is_a_warning(root):
    for path in (root / "labels" / "train").iterdir():
        path.unlink()
    assert check(root)[0].warnings == ("no image has a label",)


@pytest.mark.parametrize("ids", [(255,), (11,), (11, 255)])
def test_a_split_of_void_alone_is_a_warning(root, ids):
    fill(root, "train", ids)
    train, _ = check(root)
    assert "every pixel is void" in train.warnings
    assert not train.is_labelled


def test_masks_of_0_and_255_are_a_warning_where_255_is_void(root):
    fill(root, "train", (0, 255))
    assert any("nothing but 0 and 255" in warning for warning in check(root)[0].warnings)
    fill(root, "train", (0, 3, 255))
    assert not any("0 and 255" in warning for warning in check(root)[0].warnings)


def test_train_ids_in_a_table_that_counts_from_one_are_a_warning(tmp_path, image):
    for name in "ab":
        write_png(image, tmp_path / "images" / "train" / f"{name}.png")
        write_png(
            np.resize(np.array([0, 5, 39, 255], np.uint8), (6, 8)),
            tmp_path / "labels" / "train" / f"{name}.png",
        )
    (train,) = check_dataset(open_dataset("nyuv2", tmp_path))
    assert "the labels hold 0 to 39 and 255, as train ids do" in train.warnings


def test_interpolated_labels_are_a_warning(root):
    big = np.kron(np.array([[0, 8], [8, 0]], np.uint8), np.ones((40, 40), np.uint8))
    picture = Image.fromarray(big).resize((120, 120), Image.Resampling.BILINEAR)
    picture.save(root / "labels" / "train" / "a.png")
    Image.new("RGB", (120, 120)).save(root / "images" / "train" / "a.png")
    train, _ = check(root)
    assert any(warning.startswith("1 label with slivers") for warning in train.warnings)


def test_one_name_in_two_unicode_forms_is_paired_and_said(root, image):
    write_png(image, root / "images" / "train" / unicodedata.normalize("NFD", "é.png"))
    ids = np.full((6, 8), 3, np.uint8)
    write_png(ids, root / "labels" / "train" / unicodedata.normalize("NFC", "é.png"))
    train, _ = check(root)
    assert train.problems == ()
    assert any("another Unicode form" in warning for warning in train.warnings)


@pytest.mark.parametrize("most", [1, 3, 100])
def test_a_glance_looks_at_some_labels_and_at_all_where_those_are_void(root, most):
    dataset = open_dataset("camvid", root)
    listing = dataset.listing("train")
    assert glance(dataset, "train", listing, most=most).looked_at == min(most, 4)
    fill(root, "train", (255,))
    report = glance(dataset, "train", listing, most=most)
    assert (report.looked_at, report.is_labelled) == (4, False)
    write_png(np.full((6, 8), 3, np.uint8), root / "labels" / "train" / "d.png")
    assert glance(dataset, "train", listing, most=most).is_labelled
