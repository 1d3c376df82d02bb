"""Which pictures are predicted, and what their label maps are called."""

from __future__ import annotations

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
