"""A described folder: the whole file, its defaults, and all its mistakes at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from artoolkit.data import open_dataset
from artoolkit.data.folder import FolderClass, FolderSpec, FolderSplit
from artoolkit.data.image_files import write_png
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
    assert dataset.prediction_name(samples[0]) == "day/a.png"
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
        "void.0", "extra", "classes.0.name", "color (1, 2, 999)", "patterns.image",
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
    for problem in (
        "id 255 is both a class and void (say void = []",
        "id 1 stands for several classes",
        "class 'a' stands twice",
    ):
        assert problem in str(caught.value)


@given(count=st.integers(1, 254))
def test_default_colours_are_valid_and_defaults_number_by_place(count):
    classes = tuple(FolderClass(name=f"c{i}") for i in range(count))
    table = FolderSpec(classes=classes, splits={"train": FolderSplit(images="i")}).table()
    assert table.file_ids == tuple(range(count))
    assert table.num_classes == count
    assert count > 60 or len(set(table.colors)) == count


def described(write, root, text: str, *, mark: str = ""):
    """A folder data set of the classes ground and person."""
    classes = (
        '[[classes]]\nname = "ground"\ncolor = [128, 64, 128]\n'
        '[[classes]]\nname = "person"\ncolor = [220, 20, 60]\n{ID}\n'
    )
    head, _, rest = text.partition("\n[")
    body = classes.replace("{ID}", head.partition("ID ")[2])
    head = head.partition("ID ")[0]
    splits = '[splits.train]\nimages = "train/images"\nlabels = "train/labels"\n'
    write(root / "classes.toml", f"{mark}{head}\n{body}{splits}" + (f"[{rest}" if rest else ""))
    return open_dataset("folder", root)


def pairs(root, image, *names, ending="png", ids=((0, 1, 255),)):
    for name in names:
        write_png(image[:1, :3], root / "train/images" / f"{name}.{ending}")
        write_png(np.array(ids, np.uint8), root / "train/labels" / f"{name}.png")


def test_a_byte_order_mark_is_no_mistake(tmp_path, image, write):
    pairs(tmp_path, image, "a")
    dataset = described(write, tmp_path, "", mark="\ufeff")
    assert dataset.labels.names == ("ground", "person")


@pytest.mark.parametrize(
    ("text", "void"), [("void = []\nID id = 255", ()), ("void = [7]\nID id = 255", (7,))]
)
def test_255_may_be_a_class_where_void_leaves_it(tmp_path, image, write, text, void):
    pairs(tmp_path, image, "a", ids=((0, 255, 0),))
    dataset = described(write, tmp_path, text)
    assert dataset.labels.void_ids == void
    assert dataset.read_label(dataset.samples("train")[0]).tolist() == [[0, 1, 0]]
    predicted = dataset.labels.to_file_ids(np.array([0, 1], np.uint8))
    assert predicted.tolist() == [0, 255]


def test_labels_are_read_by_color_where_the_description_says_so(tmp_path, image, write):
    pairs(tmp_path, image, "a")
    colors = np.array([[(220, 20, 60), (0, 0, 0), (128, 64, 128)]], np.uint8)
    write_png(colors, tmp_path / "train/labels/a.png")
    dataset = described(write, tmp_path, 'labels_by = "color"')
    assert dataset.read_label(dataset.samples("train")[0]).tolist() == [[1, 255, 0]]
    with pytest.raises(DataError, match='labels_by = "color"'):
        other = described(write, tmp_path, "")
        other.read_label(other.samples("train")[0])


def test_reading_by_color_needs_distinct_colors(tmp_path, write):
    with pytest.raises(RecipeError) as caught:
        described(write, tmp_path, 'labels_by = "color"\nID color2 = 1')
    assert "color2" in str(caught.value)
    spec = {
        "labels_by": "color",
        "classes": [
            {"name": "a", "color": [1, 2, 3]},
            {"name": "b", "color": [1, 2, 3]},
            {"name": "c"},
        ],
        "splits": {"train": {"images": "i"}},
    }
    with pytest.raises(ValueError, match="class 'c' has no color") as error:
        FolderSpec.model_validate(spec)
    assert "color (1, 2, 3) stands for several classes" in str(error.value)


@pytest.mark.parametrize("ending", ["jpg", "JPG", "jpeg", "PNG", "tif"])
def test_images_of_another_ending_are_left_out_and_counted(tmp_path, image, write, ending):
    from PIL import Image

    pairs(tmp_path, image, "a", "b")
    path = tmp_path / "train/images/b.png"
    Image.open(path).save(path.with_suffix(f".{ending}"))
    path.unlink()
    listing = described(write, tmp_path, "").listing("train")
    assert list(listing.images) == ["a"]
    (remark,) = listing.remarks
    assert f"left out, 1 .{ending}: b.{ending}" in remark


@pytest.mark.parametrize("pattern", ["*", "img_*", "img*"])
def test_a_pattern_that_takes_two_endings_is_reported(tmp_path, image, write, pattern):
    pairs(tmp_path, image, "img_a")
    (tmp_path / "train/images/img_a.json").write_text("{}")
    text = f'\n[patterns]\nimage = "{pattern}"\n'
    (remark,) = described(write, tmp_path, text).listing("train").remarks
    assert "takes files that end in .json and in .png" in remark


def test_windows_paths_and_nameless_files(tmp_path, image, write):
    pairs(tmp_path, image, "cam_a", "cam_")
    text = '\n[patterns]\nimage = "cam_*.png"\nlabel = "cam_*.png"\n'
    described(write, tmp_path, text)
    toml = (tmp_path / "classes.toml").read_text()
    write(tmp_path / "classes.toml", toml.replace('"train/images"', "'train\\images'"))
    listing = open_dataset("folder", tmp_path).listing("train")
    assert (list(listing.images), list(listing.labels)) == (["a"], ["a"])
    assert all("nothing but the pattern: cam_.png" in remark for remark in listing.remarks)


def test_equal_names_in_two_folders_keep_their_folder_in_predictions(tmp_path, image, write):
    pairs(tmp_path, image, "a/00", "a_00")
    dataset = described(write, tmp_path, "")
    names = [dataset.prediction_name(sample) for sample in dataset.samples("train")]
    assert names == ["a/00.png", "a_00.png"]
