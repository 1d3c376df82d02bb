"""CamVid's two layouts, its names, and held-out drives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from artoolkit.data.camvid import NAMES, CamVid, label_table
from artoolkit.data.image_files import write_png
from artoolkit.errors import DataError

# SegNet-Tutorial/Scripts/test_segmentation_camvid.py, label_colours
TUTORIAL = {
    "sky": (128, 128, 128), "building": (128, 0, 0), "pole": (192, 192, 128),
    "road": (128, 64, 128), "pavement": (60, 40, 222), "tree": (128, 128, 0),
    "sign symbol": (192, 128, 128), "fence": (64, 64, 128), "car": (64, 0, 128),
    "pedestrian": (64, 64, 0), "bicyclist": (0, 128, 192),
}  # fmt: skip
DRIVES = {"train": ("0001TP_1", "0006R0_1", "0016E5_1", "0016E5_2"), "val": ("0016E5_3",)}


def test_the_default_order_and_colours_are_the_tutorials():
    table = label_table()
    assert dict(zip(table.names, table.colors, strict=True)) == TUTORIAL
    assert table.file_ids == tuple(range(11))
    assert table.void_ids == (11, 255)


@given(st.permutations([*NAMES, "void"]))
def test_classes_are_mapped_by_name_whatever_their_number(order):
    table = label_table(tuple(order))
    found = table.to_train_ids(np.arange(12, dtype=np.uint8))
    for file_id, name in enumerate(order):
        assert found[file_id] == (255 if name == "void" else NAMES.index(name))


def test_other_spellings_are_understood():
    names = tuple({"pole": "Column_Pole", "pavement": "Sidewalk"}.get(n, n.title()) for n in NAMES)
    assert label_table(names).file_ids == tuple(range(11))


def test_all_wrong_names_are_reported_at_once():
    with pytest.raises(
        DataError, match=r"sky is missing; 'heaven' is unknown; 'road' stands twice"
    ):
        label_table(("heaven", *NAMES[1:], "road"))


def fill(root, image, layout):
    for split, names in DRIVES.items():
        for name in names:
            images, labels = layout.get(split)
            write_png(image, root / images / f"{name}.png")
            write_png(np.full((6, 8), 2, np.uint8), root / labels / f"{name}.png")


@pytest.fixture
def plain(tmp_path, image):
    fill(tmp_path, image, {s: (f"images/{s}", f"labels/{s}") for s in DRIVES})
    return tmp_path


@pytest.fixture
def tutorial(tmp_path, image):
    fill(tmp_path, image, {s: (s, f"{s}annot") for s in DRIVES})
    return tmp_path


@pytest.mark.parametrize("layout", ["plain", "tutorial"])
def test_both_layouts_give_the_same_samples(request, layout):
    dataset = CamVid(request.getfixturevalue(layout))
    assert dataset.splits() == ("train", "val")
    assert [s.name for s in dataset.samples("train")] == list(DRIVES["train"])
    assert dataset.read_label(dataset.samples("val")[0])[0, 0] == NAMES.index("pole")


def test_the_tutorials_list_decides_and_its_absolute_prefix_does_not(tutorial, write):
    line = "/SegNet/CamVid/train/{0}.png /SegNet/CamVid/trainannot/{0}.png\n"
    write(tutorial / "train.txt", "".join(line.format(name) for name in DRIVES["train"][:2]))
    samples = CamVid(tutorial).samples("train")
    assert [s.name for s in samples] == list(DRIVES["train"][:2])
    assert samples[0].label == tutorial / "trainannot" / "0001TP_1.png"
    write(tutorial / "train.txt", "train/a.png\n")
    with pytest.raises(DataError, match=r"train\.txt is not a list of pairs; got 'train/a.png'"):
        CamVid(tutorial).samples("train")


@pytest.mark.parametrize(
    "line",
    [
        r"C:\SegNet\CamVid\train\{0}.png C:\SegNet\CamVid\trainannot\{0}.png",
        "/my data/CamVid/train/{0}.png\t/my data/CamVid/trainannot/{0}.png",
        '"/my data/train/{0}.png" "/my data/trainannot/{0}.png"',
    ],
)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_the_list_may_come_from_windows_and_hold_spaces(tutorial, write, line, mark):
    lines = (line.format(name) for name in DRIVES["train"][:2])
    write(tutorial / "train.txt", mark + "\r\n".join(lines) + "\r\n")
    samples = CamVid(tutorial).samples("train")
    assert [s.name for s in samples] == list(DRIVES["train"][:2])
    assert [s.label for s in samples] == [
        tutorial / "trainannot" / f"{name}.png" for name in DRIVES["train"][:2]
    ]


def test_a_list_that_is_not_utf8_is_named(tutorial, write):
    write(tutorial / "train.txt", "train/é.png trainannot/é.png".encode("latin-1"))
    with pytest.raises(DataError, match=r"train\.txt cannot be read"):
        CamVid(tutorial).samples("train")


def test_two_files_of_one_name_are_refused(plain, image):
    from PIL import Image

    Image.fromarray(image).save(plain / "images" / "train" / "0001TP_1.jpg")
    with pytest.raises(DataError, match="1 names in split train stand for several files"):
        CamVid(plain).samples("train")


def test_a_class_list_in_the_root_renumbers_the_labels(plain, write):
    write(plain / "classes.txt", "\ufeff" + "\n".join(["void", *reversed(NAMES)]) + "\n")
    dataset = CamVid(plain)
    assert dataset.read_label(dataset.samples("val")[0])[0, 0] == NAMES.index("pedestrian")


def test_a_drive_can_be_left_out_and_taken_alone(plain):
    dataset = CamVid(plain)
    assert dataset.drives() == ("0001TP", "0006R0", "0016E5")
    for drive in dataset.drives():
        rest = {s.name for s in dataset.samples(f"train-without-{drive}")}
        alone = {s.name for s in dataset.samples(f"drive:{drive}")}
        assert rest == {n for n in DRIVES["train"] if not n.startswith(drive)}
        assert alone == {n for names in DRIVES.values() for n in names if n.startswith(drive)}
        assert not rest & alone


@pytest.mark.parametrize(
    "split", ["drive:0099", "train-without-0099", "test-without-0001TP", "all"]
)
def test_an_unknown_split_or_drive_says_what_there_is(plain, split):
    with pytest.raises(DataError, match=r"expected train or val, also SPLIT-without-DRIVE.*0001TP"):
        CamVid(plain).samples(split)


def test_jpeg_images_pair_with_png_labels(plain, image):
    from PIL import Image

    Image.fromarray(image).save(plain / "images" / "train" / "0001TP_1.jpg")
    (plain / "images" / "train" / "0001TP_1.png").unlink()
    assert CamVid(plain).samples("train")[0].image.suffix == ".jpg"
