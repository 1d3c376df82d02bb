"""Which pictures are predicted, and what their label maps are called."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from artoolkit.backends.runner import OpenRunner, Outputs
from artoolkit.cli.predict import Job, jobs_of, predict
from artoolkit.cli.source import Source, open_source
from artoolkit.data.cityscapes import LABELS
from artoolkit.errors import BundleError, DataError, UsageError
from artoolkit.networks.checkpoint import Checkpoint, CheckpointMeta, write_checkpoint
from artoolkit.preprocess import Preprocess
from artoolkit.report.overlay import overlay
from artoolkit.spec import RunnerSpec, TensorSpec


class Striped(OpenRunner):
    """Says class 0 in the upper half and class 13 (car) in the lower."""

    def __init__(self) -> None:
        super().__init__(
            RunnerSpec(
                backend="onnxruntime",
                device="cpu",
                inputs=(TensorSpec(name="image", dtype="uint8", shape=(1, 4, 8, 3)),),
                outputs=(TensorSpec(name="labels", dtype="uint8", shape=(1, 4, 8)),),
            )
        )

    def _infer(self, images: np.ndarray) -> Outputs:
        labels = np.zeros((1, 4, 8), np.uint8)
        labels[:, 2:] = 13
        return {"labels": labels}

    def _release(self) -> None:
        pass


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
    with pytest.raises(DataError, match="differ in their ending only"):
        jobs_of(tmp_path)


def test_label_maps_have_the_pictures_size_and_the_data_sets_ids(tmp_path: Path) -> None:
    job = jobs_of(picture(tmp_path / "in" / "a.png"))[0]
    source = Source("striped", Striped(), LABELS, (4, 8))
    with source:
        assert list(predict(source, [job], tmp_path / "out", overlays=True)) == [job]
    with Image.open(tmp_path / "out" / "labels" / "a.png") as written:
        labels = np.asarray(written)
    assert labels.shape == (8, 16)
    assert (labels[:4] == 7).all()
    assert (labels[4:] == 26).all()
    assert (tmp_path / "out" / "overlays" / "a.png").exists()


def test_an_overlay_leaves_void_alone_and_blends_the_rest() -> None:
    image = np.full((1, 2, 3), 100, np.uint8)
    shown = overlay(image, np.array([[0, 255]], np.uint8), LABELS, opacity=0.5)
    assert shown[0, 1].tolist() == [100, 100, 100]
    np.testing.assert_allclose(shown[0, 0], (100 + np.array(LABELS.colors[0])) / 2, atol=1)
    with pytest.raises(ValueError, match="differ in size"):
        overlay(image, np.zeros((2, 2), np.uint8), LABELS)


def test_what_cannot_be_opened_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="does not exist"):
        open_source(tmp_path / "nothing")
    checkpoint = tmp_path / "model.safetensors"
    meta = CheckpointMeta(network="icnet", num_classes=19, labels=LABELS, preprocess=Preprocess())
    write_checkpoint(checkpoint, Checkpoint(meta, {}))
    with pytest.raises(UsageError, match="runs on torch, not on onnxruntime"):
        open_source(checkpoint, backend="onnxruntime")
    with pytest.raises(UsageError, match="--imgsz H W"):
        open_source(checkpoint)
