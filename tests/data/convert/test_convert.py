"""Annotations of others become a described folder: one small example of each form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from artoolkit.cli import run
from artoolkit.data import open_dataset
from artoolkit.data.check import check_dataset
from artoolkit.data.convert import FORMS, convert
from artoolkit.data.convert.coco import mask_of
from artoolkit.data.convert.source import Settings, drawn
from artoolkit.errors import DataError
from artoolkit.words import ANNOTATIONS

SIZE = (6, 8)


def picture(path: Path, seed: int = 0, size: tuple[int, int] = SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def ids(path: Path, values: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(values, np.uint8)).save(path)
    return path


def label_of(out: Path, split: str = "train", place: int = 0) -> list[list[int]]:
    """The label as training reads it; the whole set has no problem."""
    data = open_dataset("folder", out)
    assert all(not report.problems for report in check_dataset(data))
    return data.read_label(data.samples(split)[place]).tolist()


def made(form: str, source: Path, out: Path, **settings: Any) -> dict[str, int]:
    return convert(form, source, out, Settings(**settings))


def test_every_form_is_listed() -> None:
    assert tuple(FORMS) == ANNOTATIONS


# ---- COCO ----------------------------------------------------------------------------------------
def coco(root: Path, segmentation: Any, **image: Any) -> Path:
    """A JSON of one image of 6 x 8 with one object of the second category."""
    picture(root / "a.jpg")
    content = {
        "images": [{"id": 7, "file_name": "a.jpg", "height": 6, "width": 8, **image}],
        "categories": [{"id": 3, "name": "tree"}, {"id": 90, "name": "car"}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 90, "segmentation": segmentation,
                         "iscrowd": 0, "bbox": [0, 0, 1, 1], "area": 1}],
    }  # fmt: skip
    (root / "set.json").write_text(json.dumps(content))
    return root / "set.json"


BOX = np.zeros(SIZE, int)
BOX[1:4, 2:6] = 1


@pytest.mark.parametrize(
    "segmentation",
    [
        [[2, 1, 6, 1, 6, 4, 2, 4]],
        [[2, 1, 4, 1, 4, 4, 2, 4], [4, 1, 6, 1, 6, 4, 4, 4]],  # one object in two parts
        {"size": [6, 8], "counts": [13, 3, 3, 3, 3, 3, 3, 3, 14]},
        {"size": [6, 8], "counts": "=3300000;"},  # the same as text
    ],
)
@pytest.mark.parametrize("background", [True, False])
def test_coco_instances(tmp_path: Path, segmentation: Any, background: bool) -> None:
    out = tmp_path / "out"
    counts = made("coco-instances", coco(tmp_path, segmentation), out, background=background)
    assert counts == {"train": 1}
    assert label_of(out) == np.where(BOX, 1 + background, 0 if background else 255).tolist()
    names = open_dataset("folder", out).labels.names
    assert names == (("background",) if background else ()) + ("tree", "car")


def test_run_lengths_that_do_not_fill_their_mask_are_refused() -> None:
    with pytest.raises(DataError, match="do not fill"):
        mask_of({"size": [6, 8], "counts": [13, 3]})


def test_what_lies_upon_a_larger_thing_is_seen() -> None:
    small, large = [[2, 2, 4, 2, 4, 4, 2, 4]], [[0, 0, 8, 0, 8, 6, 0, 6]]
    found = drawn(SIZE, [(1, small), (2, large)], background=True)
    assert (found[2:4, 2:4] == 1).all()
    assert (found == 2).sum() == 6 * 8 - 4


@pytest.mark.parametrize("images", [None, "elsewhere"])
def test_coco_panoptic(tmp_path: Path, images: str | None) -> None:
    place = tmp_path / (images or "")
    picture(place / "a.jpg")
    codes = np.where(BOX, 300, 70_000)
    codes[0] = 0  # unlabelled
    rgb = np.stack([codes % 256, codes // 256 % 256, codes // 65536], -1)
    ids(tmp_path / "panoptic" / "a.png", rgb)
    (tmp_path / "panoptic.json").write_text(json.dumps({
        "images": [{"id": 1, "file_name": "a.jpg", "height": 6, "width": 8}],
        "categories": [{"id": 1, "name": "sky", "isthing": 0, "color": [70, 130, 180]},
                       {"id": 200, "name": "car", "isthing": 1, "color": [0, 0, 142]}],
        "annotations": [{"image_id": 1, "file_name": "a.png", "segments_info": [
            {"id": 300, "category_id": 200, "iscrowd": 0},
            {"id": 70_000, "category_id": 1, "iscrowd": 0}]}],
    }))  # fmt: skip
    out = tmp_path / "out"
    made("coco-panoptic", tmp_path / "panoptic.json", out, images=place, split="val")
    expected = BOX.copy()
    expected[0] = 255
    assert label_of(out, "val") == expected.tolist()
    assert open_dataset("folder", out).labels.colors == ((70, 130, 180), (0, 0, 142))


def test_a_second_split_is_added_and_one_that_is_there_refused(tmp_path: Path) -> None:
    source, out = coco(tmp_path, [[2, 1, 6, 1, 6, 4, 2, 4]]), tmp_path / "out"
    for split in ("train", "val"):
        made("coco-instances", source, out, split=split)
    assert open_dataset("folder", out).splits() == ("train", "val")
    with pytest.raises(DataError, match="holds a split val already"):
        made("coco-instances", source, out, split="val")
    with pytest.raises(DataError, match="other classes"):
        made("coco-instances", source, out, split="test", background=False)


@pytest.mark.parametrize("content", ["{", "[]", '{"images": []}'])
def test_a_json_of_something_else_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    for form in ("coco-instances", "coco-panoptic"):
        with pytest.raises(DataError, match=r"x\.json cannot be read"):
            made(form, tmp_path / "x.json", tmp_path / "out")


# ---- YOLO ----------------------------------------------------------------------------------------
def yolo(root: Path, lines: str | None, names: str = "{0: tree, 1: car}") -> Path:
    pytest.importorskip("yaml")
    for split in ("train", "val"):
        picture(root / "images" / split / "a.jpg")
        text = root / "labels" / split / "a.txt"
        text.parent.mkdir(parents=True, exist_ok=True)
        if lines is not None:
            text.write_text(lines)
    path = root / "data.yaml"
    path.write_text(f"path: ../gone/set\ntrain: images/train\nval: images/val\nnames: {names}\n")
    return path


@pytest.mark.parametrize("names", ["{0: tree, 1: car}", "[tree, car]"])
def test_yolo_polygons(tmp_path: Path, names: str) -> None:
    line = "1 0.25 0.16667 0.75 0.16667 0.75 0.66667 0.25 0.66667\n"
    out = tmp_path / "out"
    assert made("yolo", yolo(tmp_path, line, names), out) == {"train": 1, "val": 1}
    assert label_of(out, "val") == (2 * BOX).tolist()
    assert open_dataset("folder", out).labels.names == ("background", "tree", "car")


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", b"\r\n\r\n"])
def test_an_empty_file_of_polygons_is_background(tmp_path: Path, content: bytes) -> None:
    source = yolo(tmp_path, "")
    (tmp_path / "labels" / "train" / "a.txt").write_bytes(content)
    made("yolo", source, tmp_path / "out")
    assert not np.any(label_of(tmp_path / "out"))


def test_polygons_written_on_windows_are_read_and_other_text_is_one_line(tmp_path: Path) -> None:
    line = "\ufeff1.0 0.25 0.16667 0.75 0.16667 0.75 0.66667 0.25 0.66667\r\n"
    source, text = yolo(tmp_path, ""), tmp_path / "labels" / "train" / "a.txt"
    text.write_bytes(line.encode())
    made("yolo", source, tmp_path / "out")
    assert label_of(tmp_path / "out") == (2 * BOX).tolist()
    text.write_bytes(line.encode("utf-16"))
    with pytest.raises(DataError, match=r"a\.txt cannot be read"):
        made("yolo", source, tmp_path / "other")


def test_a_yolo_image_without_a_text_file_is_background(tmp_path: Path) -> None:
    made("yolo", yolo(tmp_path, None), tmp_path / "out")
    assert not np.any(label_of(tmp_path / "out"))


@pytest.mark.parametrize(
    "line",
    [
        "2 0 0 1 0 1 1",
        "0 0 0 1 0",
        "0 0.5 0.5 0.2 0.2",
        "car 0 0",
        "1.5 0 0 1 0 1 1",
        "0 nan 0 1 0 1 1",
        "-1 0 0 1 0 1 1",
    ],
)
def test_a_yolo_line_that_is_no_polygon_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(DataError, match=r"a\.txt"):
        made("yolo", yolo(tmp_path, line), tmp_path / "out")


# ---- data sets of streets ------------------------------------------------------------------------
VISTAS = [
    {"name": "construction--flat--road", "readable": "Road", "color": [128, 64, 128],
     "instances": False, "evaluate": True},
    {"name": "void--unlabeled", "readable": "Unlabeled", "color": [0, 0, 0],
     "instances": False, "evaluate": False},
    {"name": "object--vehicle--car", "readable": "Car", "color": [0, 0, 142],
     "instances": True, "evaluate": True},
]  # fmt: skip


@pytest.mark.parametrize(("version", "place"), [("v1.2", "labels"), ("v2.0", "v2.0/labels")])
def test_mapillary_vistas(tmp_path: Path, version: str, place: str) -> None:
    (tmp_path / f"config_{version}.json").write_text(json.dumps({"labels": VISTAS}))
    for split in ("training", "validation"):
        picture(tmp_path / split / "images" / "a.jpg")
        label = Image.frombytes("P", (8, 6), np.where(BOX, 2, BOX[:, ::-1]).astype(np.uint8))
        label.putpalette([c for one in VISTAS for c in one["color"]])
        (tmp_path / split / place).mkdir(parents=True)
        label.save(tmp_path / split / place / "a.png")
    made("vistas", tmp_path, tmp_path / "out")
    expected = np.where(BOX, 1, np.where(BOX[:, ::-1], 255, 0))
    assert label_of(tmp_path / "out", "val") == expected.tolist()
    table = open_dataset("folder", tmp_path / "out").labels
    assert (table.names, table.colors[1]) == (("Road", "Car"), (0, 0, 142))


@pytest.mark.parametrize(
    ("images", "label"),
    [
        ("images/10k", "labels/sem_seg/masks/{}/a.png"),
        ("seg/images", "seg/labels/{}/a_train_id.png"),
    ],
)
def test_bdd100k(tmp_path: Path, images: str, label: str) -> None:
    for split in ("train", "val"):
        picture(tmp_path / images / split / "a.jpg")
        ids(tmp_path / label.format(split), np.where(BOX, 13, 255))
    made("bdd100k", tmp_path, tmp_path / "out")
    assert label_of(tmp_path / "out") == np.where(BOX, 13, 255).tolist()
    assert open_dataset("folder", tmp_path / "out").labels.names[13] == "car"


def a2d2(root: Path, colors: np.ndarray) -> None:
    listed = {"#ff0000": "Car 1", "#c80000": "Car 2", "#ff00ff": "RD normal street",
              "#48d1cc": "Ego car"}  # fmt: skip
    (root / "class_list.json").write_text(json.dumps(listed))
    sequence = root / "20180807_145028"
    picture(sequence / "camera" / "cam_front_center" / "2018_camera_frontcenter_09.png")
    ids(sequence / "label" / "cam_front_center" / "2018_label_frontcenter_09.png", colors)


def test_a2d2_neighbors_are_one_class_and_the_own_car_is_void(tmp_path: Path) -> None:
    colors = np.full((*SIZE, 3), (255, 0, 255), np.uint8)
    colors[0], colors[1], colors[2] = (255, 0, 0), (200, 0, 0), (0x48, 0xD1, 0xCC)
    a2d2(tmp_path, colors)
    made("a2d2", tmp_path, tmp_path / "out")
    assert [row[0] for row in label_of(tmp_path / "out")] == [0, 0, 255, 1, 1, 1]
    assert open_dataset("folder", tmp_path / "out").labels.names == ("Car", "RD normal street")


def test_a_color_that_a2d2_does_not_list_is_named(tmp_path: Path) -> None:
    a2d2(tmp_path, np.full((*SIZE, 3), (1, 2, 3), np.uint8))
    with pytest.raises(DataError, match=r"got \(1, 2, 3\)"):
        made("a2d2", tmp_path, tmp_path / "out")


@pytest.mark.parametrize("form", ["vistas", "bdd100k", "a2d2"])
def test_a_folder_of_something_else_is_one_line(tmp_path: Path, form: str) -> None:
    with pytest.raises(DataError, match=str(tmp_path)):
        made(form, tmp_path, tmp_path / "out")


# ---- Hugging Face --------------------------------------------------------------------------------
@pytest.mark.parametrize("splits", [True, False])
def test_columns_of_a_table(tmp_path: Path, splits: bool) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"pixels": datasets.Image(), "seg": datasets.Image()})
    rows = {"pixels": [str(picture(tmp_path / "a.png"))],
            "seg": [str(ids(tmp_path / "b.png", np.where(BOX, 1, 255)))]}  # fmt: skip
    table = datasets.Dataset.from_dict(rows, features=features)
    whole = datasets.DatasetDict({"train": table, "test": table}) if splits else table
    whole.save_to_disk(str(tmp_path / "table"))
    columns = {"image_column": "pixels", "label_column": "seg"}
    counts = made("huggingface", tmp_path / "table", tmp_path / "out", names=("a", "b"), **columns)
    assert counts == ({"train": 1, "test": 1} if splits else {"train": 1})
    assert label_of(tmp_path / "out") == np.where(BOX, 1, 255).tolist()
    for more, text in (({}, "--names"), ({"names": ("a", "b")}, "no column image"),
                       ({"names": ("a",), **columns}, "no map of 1 ids")):  # fmt: skip
        with pytest.raises(DataError, match=text):
            made("huggingface", tmp_path / "table", tmp_path / "other", **more)


def test_the_command_says_how_to_use_what_it_wrote(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = coco(tmp_path, [[2, 1, 6, 1, 6, 4, 2, 4]]), tmp_path / "out"
    assert run(("data", "convert", "coco-instances", str(source), str(out))) == 0
    assert (
        f"1 train images in {out} (--dataset folder --data-root {out})" in capsys.readouterr().out
    )
    (tmp_path / "a.jpg").unlink()
    other = tmp_path / "other"
    code = run(("data", "convert", "coco-instances", str(source), str(other)))
    assert code == DataError.exit_code
    assert "--images" in capsys.readouterr().err
    assert not (other / "classes.toml").exists()


# ---- faults of the sources -----------------------------------------------------------------------
def at(*path: str | int, value: Any) -> Any:
    """A change of COCO's JSON: `value` at the end of `path`."""

    def change(content: Any) -> None:
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = value

    return change


def again(what: str, **more: Any) -> Any:
    return lambda content: content[what].append({**content[what][0], **more})


SEGMENTATION = ("annotations", 0, "segmentation")
FAULTS = {
    "a name that leads out": at("images", 0, "file_name", value="../{}/a.jpg"),
    "an absolute name": at("images", 0, "file_name", value="{root}/a.jpg"),
    "a height that is not the image's": at("images", 0, "height", value=5),
    "no height": at("images", 0, "height", value=0),
    "half a pixel": at("images", 0, "height", value=6.5),
    "no segmentation": at(*SEGMENTATION, value=None),
    "text": at(*SEGMENTATION, value="abc"),
    "a flat list": at(*SEGMENTATION, value=[2, 1, 6, 1, 6, 4]),
    "half a point": at(*SEGMENTATION, value=[[2, 1, 6, 1, 6, 4, 2]]),
    "letters": at(*SEGMENTATION, value=[list("abcdef")]),
    "far away": at(*SEGMENTATION, value=[[1e300, 0, 1e308, 0, 0, 1e308]]),
    "letters that run lengths do not have": at(
        *SEGMENTATION, value={"size": [6, 8], "counts": "é"}
    ),
    "no counts": at(*SEGMENTATION, value={"size": [6, 8]}),
    "a mask of another size": at(*SEGMENTATION, value={"size": [3, 16], "counts": [48]}),
    "a mask of a terabyte": at(*SEGMENTATION, value={"size": [10**6] * 2, "counts": [10**12]}),
    "an image that it does not list": at("annotations", 0, "image_id", value="7"),
    "a category that it does not list": at("annotations", 0, "category_id", value=4),
    "one category twice": again("categories"),
    "two categories of one name": again("categories", id=91),
    "a category without a name": at("categories", 0, "name", value=""),
    "one image twice": again("images"),
    "one image under two ids": again("images", id=8),
    "an image that is not there": at("images", 0, "file_name", value="b.jpg"),
    "more classes than a byte holds": lambda content: content["categories"].extend(
        {"id": 100 + i, "name": f"c{i}"} for i in range(260)
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_cocos_json_is_one_line_and_no_data_set(tmp_path: Path, fault: str) -> None:
    root = tmp_path / "coco"
    path = coco(root, [[2, 1, 6, 1, 6, 4, 2, 4]])
    content = json.loads(path.read_text())
    FAULTS[fault](content)
    text = json.dumps(content).replace("{root}", str(root)).replace("{}", "coco")
    path.write_text(text)
    before = sorted(root.rglob("*"))
    with pytest.raises(DataError):
        made("coco-instances", path, tmp_path / "out")
    assert not (tmp_path / "out" / "classes.toml").exists()
    assert sorted(root.rglob("*")) == before


@pytest.mark.parametrize(
    ("segmentation", "name", "expected"),
    [([], "a.jpg", 0 * BOX), ([[2, 1, 6, 1]], "a.jpg", 0 * BOX),
     ([[-9, -9, 99, -9, 99, 99, -9, 99]], "a.jpg", 0 * BOX + 2),
     ([[2, 1, 6, 1, 6, 4, 2, 4]], "sub\\a.jpg", 2 * BOX)],
    ids=["nothing drawn", "a line", "beyond the image", "written on Windows"],
)  # fmt: skip
def test_odd_but_meaningful_objects_are_drawn(tmp_path, segmentation, name, expected) -> None:
    path = coco(tmp_path, segmentation, file_name=name)
    picture(tmp_path / name.replace("\\", "/"))
    made("coco-instances", path, tmp_path / "out")
    assert label_of(tmp_path / "out") == expected.tolist()


def test_a_crowd_is_drawn_under_what_is_in_it(tmp_path: Path) -> None:
    path = coco(tmp_path, [[2, 1, 6, 1, 6, 4, 2, 4]])
    content = json.loads(path.read_text())
    whole = {"size": [6, 8], "counts": [0, 48]}
    again("annotations", iscrowd=1, category_id=3, segmentation=whole)(content)
    path.write_text(json.dumps(content))
    made("coco-instances", path, tmp_path / "out")
    assert label_of(tmp_path / "out") == (1 + BOX).tolist()
