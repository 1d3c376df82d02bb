"""Label maps and overlays of pictures, videos and cameras."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from by_function import ByFunction
from numpy.typing import NDArray
from PIL import Image

from artoolkit.data.cityscapes import LABELS
from artoolkit.data.jobs import Job, jobs_of
from artoolkit.errors import DataError, StorageError
from artoolkit.report.overlay import overlay
from artoolkit.report.predictions import Followed, follow, write_predictions

Pixels = NDArray[np.uint8]


def striped(images: Sequence[Pixels]) -> list[Pixels]:
    """Class 0 in the upper half of each image and class 13 (car) in the lower."""
    maps = []
    for image in images:
        labels = np.zeros(image.shape[:2], np.uint8)
        labels[len(labels) // 2 :] = 13
        maps.append(labels)
    return maps


STRIPED = ByFunction(striped, LABELS)


def pictures(folder: Path, count: int) -> list[Job]:
    folder.mkdir()
    for index in range(count):
        Image.new("RGB", (16, 8), (200, 100, 50)).save(folder / f"{index}.png")
    return jobs_of(folder)


def test_label_maps_have_the_pictures_size_and_the_data_sets_ids(tmp_path: Path) -> None:
    jobs = pictures(tmp_path / "in", 1)
    out = tmp_path / "out"
    assert list(write_predictions(STRIPED, jobs, out)) == jobs
    with Image.open(out / "labels" / "0.png") as written:
        labels = np.asarray(written)
    assert labels.shape == (8, 16)
    assert (labels[:4] == 7).all()
    assert (labels[4:] == 26).all()
    assert (out / "overlays" / "0_overlay.png").exists()


@pytest.mark.parametrize("batch", [1, 3])
def test_every_picture_is_written_in_order_in_batches(tmp_path: Path, batch: int) -> None:
    jobs, sizes = pictures(tmp_path / "in", 7), []

    def predict(images: Sequence[Pixels]) -> list[Pixels]:
        sizes.append(len(images))
        return striped(images)

    predictor = ByFunction(predict, LABELS, batch=batch)
    done = write_predictions(predictor, jobs, tmp_path / "out", overlays=False)
    assert list(done) == jobs
    assert sizes == ([1] * 7 if batch == 1 else [3, 3, 1])
    assert len(list((tmp_path / "out" / "labels").iterdir())) == 7
    assert not (tmp_path / "out" / "overlays").exists()


def test_a_broken_picture_is_named_after_those_before_it_are_written(tmp_path: Path) -> None:
    jobs = pictures(tmp_path / "in", 3)
    jobs[1].image.write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"1\.png"):
        list(write_predictions(STRIPED, jobs, tmp_path / "out"))
    assert (tmp_path / "out" / "labels" / "0.png").exists()


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(StorageError):
        list(write_predictions(STRIPED, pictures(tmp_path / "in", 2), tmp_path / "out"))


def video(path: Path, frames: int) -> Path:
    cv2 = pytest.importorskip("cv2")
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (32, 16))
    for index in range(frames):
        writer.write(np.full((16, 32, 3), 20 * index, np.uint8))
    writer.release()
    return path


def test_every_frame_of_a_video_is_predicted_and_shown(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    source, out = video(tmp_path / "drive.avi", 6), tmp_path / "out"
    followed = list(follow(STRIPED, str(source), out=out))
    assert len(followed) == 6
    assert (len(followed[-1].latencies_ms), followed[-1].dropped) == (6, 0)
    assert len(list((out / "labels").iterdir())) == 6
    shown = cv2.VideoCapture(str(out / "overlay.mp4"))
    assert shown.get(cv2.CAP_PROP_FRAME_COUNT) == 6
    assert shown.get(cv2.CAP_PROP_FPS) == pytest.approx(10)
    shown.release()


def test_a_stream_stops_after_the_frames_asked_for(tmp_path: Path) -> None:
    source = video(tmp_path / "drive.avi", 6)
    followed = list(follow(STRIPED, str(source), most=2))
    assert len(followed[-1].latencies_ms) == 2
    assert list(tmp_path.iterdir()) == [source]


def test_a_file_that_is_no_video_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(DataError, match="cannot be opened"):
        list(follow(STRIPED, str(tmp_path / "broken.mp4")))


def test_percentiles_are_of_all_frames_seen() -> None:
    line = Followed(tuple(float(i) for i in range(1, 101)), dropped=7).line
    assert line == "100 frames, 7 dropped; frame to labels: median 50.5, p95 95.0, p99 99.0 ms"
    assert Followed((), 0).line == "no frame was seen"


def test_an_overlay_leaves_void_alone_and_blends_the_rest() -> None:
    image = np.full((1, 2, 3), 100, np.uint8)
    shown = overlay(image, np.array([[0, 255]], np.uint8), LABELS, opacity=0.5)
    assert shown[0, 1].tolist() == [100, 100, 100]
    np.testing.assert_allclose(shown[0, 0], (100 + np.array(LABELS.colors[0])) / 2, atol=1)
    with pytest.raises(ValueError, match="differ in size"):
        overlay(image, np.zeros((2, 2), np.uint8), LABELS)
