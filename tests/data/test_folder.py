"""A described folder: the whole file, its defaults, and all its mistakes at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from artoolkit.data import open_dataset
from artoolkit.data.folder import FolderClass, FolderSpec, FolderSplit
from artoolkit.data.pictures import write_png
from artoolkit.errors import DataError, RecipeError

FULL = """
name = "yard"
void = [0, 255]
[[classes]]
name = "ground"
color = [10, 20, 30]
id = 7
[[classes]]
name = "crate"
id = 3
[splits.train]
images = "train/images"
labels = "train/labels"
[splits.test]
images = "test"
[patterns]
image = "cam_*.png"
label = "*_mask.png"
"""


@pytest.fixture
def root(tmp_path, image, write):
    write(tmp_path / "classes.toml", FULL)
    for name in ("a", "b"):
        write_png(image, tmp_path / "train" / "images" / "day" / f"cam_{name}.png")
        ids = np.full((6, 8), 3, np.uint8)
        ids[0] = 0
        write_png(ids, tmp_path / "train" / "labels" / "day" / f"{name}_mask.png")
    write_png(image, tmp_path / "test" / "cam_z.png")
    return tmp_path


def test_a_full_description_is_followed(root):
    dataset = open_dataset("folder", root)
    samples = dataset.samples("train")
    assert dataset.splits() == ("train", "test")
    assert [s.name for s in samples] == ["day/a", "day/b"]
    assert (dataset.labels.name, dataset.labels.names) == ("yard", ("ground", "crate"))
    assert dataset.labels.colors[0] == (10, 20, 30)
    assert dataset.read_label(samples[0])[:2, 0].tolist() == [255, 1]
    assert dataset.prediction_name(samples[0]) == "day_a.png"
    assert dataset.samples("test")[0].label is None


def test_the_description_may_lie_elsewhere(root, tmp_path_factory):
    elsewhere = (root / "classes.toml").rename(tmp_path_factory.mktemp("other") / "mine.toml")
    assert len(open_dataset("folder", root, classes=elsewhere).samples("train")) == 2
    with pytest.raises(RecipeError, match=r"no class list at .*classes\.toml"):
        open_dataset("folder", root)


def test_a_missing_folder_and_split_are_named(root):
    dataset = open_dataset("folder", root)
    with pytest.raises(DataError, match="has no split val; expected train or test"):
        dataset.samples("val")
    (root / "test" / "cam_z.png").unlink()
    (root / "test").rmdir()
    with pytest.raises(DataError, match="expected a folder test/ in it"):
        dataset.samples("test")


def test_all_mistakes_are_reported_at_once(root, write):
    path = write(
        root / "classes.toml",
        'void = [300]\nextra = 1\n[[classes]]\nname = ""\ncolor = [1, 2, 999]\n'
        '[patterns]\nimage = "*.*"\n[splits.train]\nlabels = "l"\n',
    )
    with pytest.raises(RecipeError) as caught:
        open_dataset("folder", root)
    parts = (
        "void.0", "extra", "classes.0.name", "colour (1, 2, 999)", "patterns.image",
        "exactly one *", "splits.train.images", str(path),
    )  # fmt: skip
    for part in parts:
        assert part in str(caught.value)


CLASHING = """
[[classes]]
name = "a"
id = 1
[[classes]]
name = "a"
id = 1
[[classes]]
name = "b"
id = 255
[splits.train]
images = "i"
"""


def test_ids_and_names_must_be_distinct(root, write):
    write(root / "classes.toml", CLASHING)
    with pytest.raises(RecipeError) as caught:
        open_dataset("folder", root)
    problems = "id 255 is both a class and void, id 1 stands for several classes, class 'a' stands"
    assert problems in str(caught.value)


@given(count=st.integers(1, 254))
def test_default_colours_are_valid_and_defaults_number_by_place(count):
    classes = tuple(FolderClass(name=f"c{i}") for i in range(count))
    table = FolderSpec(classes=classes, splits={"train": FolderSplit(images="i")}).table()
    assert table.file_ids == tuple(range(count))
    assert table.num_classes == count
    assert count > 60 or len(set(table.colors)) == count
