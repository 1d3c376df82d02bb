"""NYUv2: the prepared layout, and preparing it from a file of the published structure."""

import h5py
import numpy as np
import pytest

from artoolkit.data.nyuv2 import LABELS, NAMES, NYUv2
from artoolkit.data.prepare_nyuv2 import Standard, prepare, standard
from artoolkit.errors import DataError, MissingLibraryError

# Numbers and names of the 894 classes as the published file has them.
KNOWN = {
    21: "wall", 11: "floor", 3: "cabinet", 157: "bed", 5: "chair", 83: "sofa", 19: "table",
    88: "bookshelf", 89: "curtain", 119: "pillow", 122: "mirror", 124: "toilet", 136: "bathtub",
    141: "clothes", 144: "lamp", 158: "night stand", 169: "dresser", 172: "television",
    331: "person",
}  # fmt: skip


def test_the_split_has_the_published_sizes_and_no_image_twice():
    splits = standard().splits
    assert (len(splits["train"]), len(splits["val"])) == (795, 654)
    assert sorted((*splits["train"], *splits["val"])) == list(range(1, 1450))
    assert splits["val"][:5] == (1, 2, 9, 14, 15)
    assert splits["train"][:5] == (3, 4, 5, 6, 7)


@pytest.mark.parametrize(("fine_id", "name"), KNOWN.items())
def test_fine_classes_map_to_their_namesakes(fine_id, name):
    layout = standard()
    assert layout.lut[fine_id] == NAMES.index(name) + 1
    assert layout.names[fine_id] == name


def test_the_mapping_covers_all_894_classes():
    counts = np.bincount(standard().lut, minlength=41)
    assert counts[0] == 1
    assert counts[1:38].tolist() == [1] * 37
    assert counts[38:].tolist() == [68, 82, 707]


def test_the_label_table_has_40_distinct_colours_and_zero_is_void():
    assert len(set(LABELS.colors)) == LABELS.num_classes == 40
    assert LABELS.to_train_ids(np.array([0, 1, 40, 255], np.uint8)).tolist() == [255, 0, 39, 255]


SMALL = Standard(
    lut=np.array([0, 40, 1, 2], np.uint8),
    names={2: "wall", 3: "floor"},
    splits={"train": (1, 3), "val": (2,)},
)


def published(path, images, labels, names=("book", "wall", "floor")):
    """A file as MATLAB 7.3 writes it: reversed axes, strings behind references."""
    with h5py.File(path, "w") as file:
        file["images"] = images.transpose(0, 3, 2, 1)
        file["labels"] = labels.transpose(0, 2, 1)
        texts = []
        for i, name in enumerate(names):
            file[f"#refs#/{i}"] = np.array([[ord(letter)] for letter in name], np.uint16)
            texts.append(file[f"#refs#/{i}"].ref)
        file.create_dataset("names", data=np.array([texts], dtype=h5py.ref_dtype))
    return path


@pytest.fixture
def content():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (3, 6, 8, 3), np.uint8), rng.integers(0, 4, (3, 6, 8), np.uint16)


def test_a_small_file_of_the_published_structure_is_unpacked(tmp_path, content):
    images, labels = content
    seen = []
    counts = prepare(published(tmp_path / "a.mat", images, labels), tmp_path / "out", layout=SMALL,
                     progress=lambda done, total: seen.append((done, total)))  # fmt: skip
    assert counts == {"train": 2, "val": 1}
    assert seen == [(1, 3), (2, 3), (3, 3)]
    dataset = NYUv2(tmp_path / "out")
    samples = {s.name: s for split in dataset.splits() for s in dataset.samples(split)}
    assert [s.name for s in dataset.samples("train")] == ["0001", "0003"]
    for number in (1, 2, 3):
        sample = samples[f"{number:04d}"]
        assert np.array_equal(dataset.read_image(sample), images[number - 1])
        expected = np.array([255, 39, 0, 1], np.uint8)[labels[number - 1]]
        assert np.array_equal(dataset.read_label(sample), expected)


def test_another_number_of_images_is_refused_by_the_standard(tmp_path, content):
    path = published(tmp_path / "a.mat", *content)
    with pytest.raises(DataError, match="expected 1449 x 3 x W x H"):
        prepare(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_class_numbers_are_refused(tmp_path, content):
    path = published(tmp_path / "a.mat", *content, names=("book", "floor", "wall"))
    with pytest.raises(DataError, match="class 2 is 'floor', not 'wall'; 3 is 'wall', not 'floor'"):
        prepare(path, tmp_path / "out", layout=SMALL)
    path = published(tmp_path / "b.mat", *content, names=("book",))
    with pytest.raises(DataError, match="class 2 is '', not 'wall'"):
        prepare(path, tmp_path / "out", layout=SMALL)


def test_an_unknown_fine_class_is_refused(tmp_path, content):
    images, labels = content
    labels[0, 0, 0] = 4
    path = published(tmp_path / "a.mat", images, labels)
    with pytest.raises(DataError, match=r"label 1 of .* got id 4; expected 0-3"):
        prepare(path, tmp_path / "out", layout=SMALL)


def test_what_is_not_the_published_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="no file at"):
        prepare(tmp_path / "gone.mat", tmp_path / "out")
    (tmp_path / "old.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(600))
    with pytest.raises(DataError, match="cannot be read"):
        prepare(tmp_path / "old.mat", tmp_path / "out")
    with h5py.File(tmp_path / "other.mat", "w") as file:
        file["images"] = np.zeros((1, 3, 4, 4), np.uint8)
    with pytest.raises(DataError, match="got no variable labels, names"):
        prepare(tmp_path / "other.mat", tmp_path / "out")


def test_without_h5py_the_message_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(MissingLibraryError, match=r"reading NYUv2's \.mat file needs h5py"):
        prepare(tmp_path / "a.mat", tmp_path / "out")
