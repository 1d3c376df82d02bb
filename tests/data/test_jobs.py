"""Which pictures are predicted, and what their label maps are called."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from artoolkit.data.jobs import Job, jobs_of
from artoolkit.errors import DataError


def picture(path: Path, size_wh: tuple[int, int] = (16, 8)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size_wh, (200, 100, 50)).save(path)
    return path


def test_a_picture_and_a_folder_of_pictures(tmp_path: Path) -> None:
    one = picture(tmp_path / "a" / "x_leftImg8bit.png")
    picture(tmp_path / "b.jpg")
    (tmp_path / "notes.txt").write_text("no picture")
    assert jobs_of(one) == [Job(one, Path("x_pred_labelIds.png"))]
    assert [job.name for job in jobs_of(tmp_path)] == [
        Path("a/x_pred_labelIds.png"),
        Path("b.png"),
    ]


def test_nothing_to_predict_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no picture"):
        jobs_of(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        jobs_of(tmp_path / "nothing")


def test_two_pictures_that_would_share_a_label_map_are_refused(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "a.jpg")
    with pytest.raises(DataError, match=r"would have one label map, a\.png"):
        jobs_of(tmp_path)


def test_hidden_pictures_are_not_predicted_and_linked_folders_are(tmp_path: Path) -> None:
    picture(tmp_path / "in" / "a.png")
    picture(tmp_path / "in" / "._a.png")
    picture(tmp_path / "in" / ".ipynb_checkpoints" / "a.png")
    picture(tmp_path / "far" / "b.png")
    (tmp_path / "in" / "day").symlink_to(tmp_path / "far")
    assert [job.name for job in jobs_of(tmp_path / "in")] == [Path("a.png"), Path("day/b.png")]


@pytest.mark.parametrize(
    ("one", "other"),
    [("a.png", "a.JPG"), ("x_leftImg8bit.png", "x_pred_labelIds.png"),
     (unicodedata.normalize("NFC", "é.png"), unicodedata.normalize("NFD", "é.jpg")),
     (unicodedata.normalize("NFC", "é.png"), unicodedata.normalize("NFD", "é.png")),
     (os.fsdecode(b"caf\xe9.png"), "caf\\xe9.png")],
    ids=["endings", "Cityscapes", "Unicode forms", "one name in two forms", "not UTF-8"],
)  # fmt: skip
def test_names_that_become_one_label_map_are_refused(tmp_path: Path, one: str, other: str) -> None:
    for name in (one, other):
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=r"would have one label map|have one name"):
        jobs_of(tmp_path)


@pytest.mark.parametrize(
    "name", ["50%", "#1", "a\nb", "-rf", "😀", "a.b", "..a", "[x]", "_leftImg8bit", "\u202egnp"]
)
def test_a_label_map_has_its_pictures_name_whatever_that_is(tmp_path: Path, name: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / f"{name}.jpg").touch()
    if name.startswith("."):
        with pytest.raises(DataError, match="holds no"):
            jobs_of(tmp_path)
    else:
        stem = name.replace("_leftImg8bit", "_pred_labelIds")
        assert [job.name for job in jobs_of(tmp_path)] == [Path("sub", f"{stem}.png")]
