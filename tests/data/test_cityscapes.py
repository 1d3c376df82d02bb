"""Cityscapes against the official tools."""

import numpy as np
import pytest
from cityscapesscripts.helpers.csHelpers import getCsFileInfo
from cityscapesscripts.helpers.labels import labels as OFFICIAL

from artoolkit.data.cityscapes import LABELS, TRAIN_ID_LABELS, Cityscapes
from artoolkit.data.image_files import write_png
from artoolkit.errors import DataError

EVALUATED = sorted((label for label in OFFICIAL if not label.ignoreInEval), key=lambda x: x.trainId)
STEM = "aachen_000000_000019"


def test_the_19_classes_are_the_official_ones():
    assert LABELS.names == tuple(label.name for label in EVALUATED)
    assert LABELS.colors == tuple(label.color for label in EVALUATED)
    assert LABELS.file_ids == tuple(label.id for label in EVALUATED)
    assert tuple(range(19)) == tuple(label.trainId for label in EVALUATED)
    assert TRAIN_ID_LABELS.names == LABELS.names


@pytest.mark.parametrize("label", OFFICIAL, ids=lambda label: label.name)
def test_every_official_id_maps_as_the_official_table_says(label):
    in_file = np.array([label.id % 256], np.uint8)  # the licence plate's -1 is 255 in a PNG
    expected = 255 if label.ignoreInEval else label.trainId
    assert LABELS.to_train_ids(in_file)[0] == expected
    assert not LABELS.unknown_ids([label.id % 256])


@pytest.fixture
def root(tmp_path, image):
    for split in ("val", "train", "test"):
        write_png(image, tmp_path / "leftImg8bit" / split / "aachen" / f"{STEM}_leftImg8bit.png")
    ids = np.full((6, 8), 7, np.uint8)
    ids[0], ids[1] = 33, 1
    write_png(ids, tmp_path / "gtFine" / "train" / "aachen" / f"{STEM}_gtFine_labelIds.png")
    return tmp_path


def test_splits_come_in_the_usual_order(root):
    assert Cityscapes(root).splits() == ("train", "val", "test")
    with pytest.raises(DataError, match="has no split training; expected train or val or test"):
        Cityscapes(root).samples("training")


def test_label_ids_are_read_as_train_ids(root):
    dataset = Cityscapes(root)
    (sample,) = dataset.samples("train")
    labels = dataset.read_label(sample)
    assert (sample.name, labels.shape, labels.dtype) == (STEM, (6, 8), np.uint8)
    assert labels[:3, 0].tolist() == [18, 255, 0]


def test_train_id_files_are_accepted_and_label_ids_win(root):
    folder = root / "gtFine" / "train" / "aachen"
    write_png(np.full((6, 8), 5, np.uint8), folder / f"{STEM}_gtFine_labelTrainIds.png")
    dataset = Cityscapes(root)
    (sample,) = dataset.samples("train")
    assert dataset.read_label(sample)[2, 0] == 0
    (folder / f"{STEM}_gtFine_labelIds.png").unlink()
    (sample,) = dataset.samples("train")
    assert np.unique(dataset.read_label(sample)).tolist() == [5]


def test_train_ids_in_a_file_of_label_ids_are_refused(root):
    folder = root / "gtFine" / "train" / "aachen"
    ids = np.full((6, 8), 0, np.uint8)
    ids[0], ids[1] = 255, 13
    write_png(ids, folder / f"{STEM}_gtFine_labelIds.png")
    dataset = Cityscapes(root)
    with pytest.raises(DataError, match=r"train ids .* got nothing but 0, 13, 255"):
        dataset.read_label(dataset.samples("train")[0])


def test_hidden_copies_are_no_samples(root, image):
    folder = root / "leftImg8bit" / "train" / "aachen"
    write_png(image, folder / f"._{STEM}_leftImg8bit.png")
    assert [s.name for s in Cityscapes(root).samples("train")] == [STEM]


def test_an_id_of_the_other_form_is_out_of_range(root):
    folder = root / "gtFine" / "val" / "aachen"
    write_png(np.full((6, 8), 33, np.uint8), folder / f"{STEM}_gtFine_labelTrainIds.png")
    dataset = Cityscapes(root)
    with pytest.raises(DataError, match="got id 33; expected 0-18, 255"):
        dataset.read_label(dataset.samples("val")[0])


def test_the_prediction_is_named_as_the_official_tools_look_for_it(root):
    dataset = Cityscapes(root)
    (sample,) = dataset.samples("test")
    name = dataset.prediction_name(sample)
    info = getCsFileInfo(name)
    assert (info.city, info.sequenceNb, info.frameNb, info.ext) == (
        "aachen",
        "000000",
        "000019",
        "png",
    )
    # Given paths instead of a folder, the evaluation tells predictions from truth by these words.
    assert "pred" in name
    assert "gt" not in name
