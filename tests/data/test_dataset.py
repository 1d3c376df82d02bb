"""What all data sets share: opening by name, pairing, sizes."""

import numpy as np
import pytest

from artoolkit.data import Sample, open_dataset
from artoolkit.data.image_files import write_png
from artoolkit.errors import DataError, UsageError
from artoolkit.words import DATASETS


@pytest.fixture
def camvid(tmp_path, image):
    for name in ("0001TP_1", "0001TP_2", "0006R0_3"):
        write_png(image, tmp_path / "images" / "train" / f"{name}.png")
        write_png(np.full((6, 8), 3, np.uint8), tmp_path / "labels" / "train" / f"{name}.png")
    return tmp_path


@pytest.mark.parametrize("name", [n for n in DATASETS if n != "folder"])
def test_every_data_set_opens_under_its_name(tmp_path, name):
    dataset = open_dataset(name, tmp_path)
    assert (dataset.name, dataset.root, dataset.labels.name) == (name, tmp_path, name)


def test_an_unknown_name_lists_the_known_ones(tmp_path):
    with pytest.raises(UsageError, match="'kitti'; expected one of cityscapes, camvid, nyuv2"):
        open_dataset("kitti", tmp_path)


def test_classes_belong_to_the_folder_data_set(tmp_path):
    with pytest.raises(UsageError, match="camvid has its own classes"):
        open_dataset("camvid", tmp_path, classes=tmp_path / "classes.toml")


def test_the_root_may_come_from_the_environment_for_cityscapes_only(tmp_path, monkeypatch):
    monkeypatch.setenv("CITYSCAPES_DATASET", str(tmp_path))
    assert open_dataset("cityscapes").root == tmp_path
    with pytest.raises(UsageError, match="no data root for camvid"):
        open_dataset("camvid")
    monkeypatch.delenv("CITYSCAPES_DATASET")
    with pytest.raises(UsageError, match="no data root for cityscapes"):
        open_dataset("cityscapes")


@pytest.mark.parametrize("name", [n for n in DATASETS if n != "folder"])
def test_a_missing_root_and_a_wrong_root_are_told_apart(tmp_path, name):
    with pytest.raises(DataError, match=r"no data set at .*gone"):
        open_dataset(name, tmp_path / "gone").samples("train")
    with pytest.raises(DataError, match="is not"):
        open_dataset(name, tmp_path).samples("train")


def test_samples_are_sorted_and_complete(camvid, image):
    dataset = open_dataset("camvid", camvid)
    samples = dataset.samples("train")
    assert [s.name for s in samples] == ["0001TP_1", "0001TP_2", "0006R0_3"]
    assert np.array_equal(dataset.read_image(samples[0]), image)
    assert dataset.read_label(samples[0]).tolist() == [[3] * 8] * 6
    assert dataset.prediction_name(Sample("a/b", camvid)) == "a/b.png"


def test_an_unknown_split_names_those_that_exist(camvid):
    with pytest.raises(DataError, match="has no split test; expected train"):
        open_dataset("camvid", camvid).samples("test")


def test_an_empty_split_is_an_error(camvid):
    (camvid / "images" / "val").mkdir()
    with pytest.raises(DataError, match=r"split val of camvid at .* is empty"):
        open_dataset("camvid", camvid).samples("val")


def test_missing_labels_are_counted_and_named(camvid):
    (camvid / "labels" / "train" / "0001TP_2.png").unlink()
    with pytest.raises(
        DataError, match="1 of 3 images in split train have no label; got none for 0001"
    ):
        open_dataset("camvid", camvid).samples("train")


def test_a_split_without_any_label_can_be_predicted_but_not_judged(camvid):
    for path in (camvid / "labels" / "train").iterdir():
        path.unlink()
    dataset = open_dataset("camvid", camvid)
    sample = dataset.samples("train")[0]
    assert sample.label is None
    with pytest.raises(DataError, match="0001TP_1 has no label"):
        dataset.read_label(sample)


def test_a_label_of_another_size_is_named_with_both_sizes(camvid):
    label = camvid / "labels" / "train" / "0001TP_1.png"
    write_png(np.zeros((5, 8), np.uint8), label)
    dataset = open_dataset("camvid", camvid)
    with pytest.raises(DataError, match=r"0001TP_1\.png .* got 5 x 8; expected 6 x 8"):
        dataset.read_label(dataset.samples("train")[0])
