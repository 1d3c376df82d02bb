"""Scenes: deterministic, in Cityscapes' ids, varied, and not to be read off from colour alone."""

import numpy as np
import pytest

from artoolkit.data.cityscapes import LABELS
from artoolkit.data.street.camera import Camera, upright_face
from artoolkit.data.street.canvas import Canvas, Id
from artoolkit.data.street.scene import street_scene
from artoolkit.metrics import confusion_matrix, mean_iou

SIZE = (96, 192)


@pytest.fixture(scope="module")
def scenes():
    return [street_scene((5, i), SIZE) for i in range(24)]


def test_a_scene_is_a_function_of_its_seed():
    first, again, other = (street_scene(seed, SIZE) for seed in ((1, 2), (1, 2), (1, 3)))
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert not np.array_equal(first[1], other[1])


@pytest.mark.parametrize("size", [(32, 32), (64, 200), (97, 131)])
def test_any_size_is_painted_whole(size):
    image, labels = street_scene(3, size)
    assert (image.shape, image.dtype) == ((*size, 3), np.uint8)
    assert (labels.shape, labels.dtype) == (size, np.uint8)
    assert image.std() > 10


def test_ids_are_cityscapes_and_the_frame_is_void(scenes):
    for _, labels in scenes:
        assert not LABELS.unknown_ids(np.unique(labels))
        frame = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
        assert np.unique(frame).tolist() == [Id.OUT_OF_ROI]
        assert (labels == Id.EGO_VEHICLE).mean() > 0.01


def test_all_19_classes_occur_and_no_class_takes_everything(scenes):
    labels = np.stack([LABELS.to_train_ids(labels) for _, labels in scenes])
    share = np.bincount(labels.ravel(), minlength=256) / labels.size
    assert (share[:19] > 0).all()
    assert share[:19].max() < 0.5
    assert 0.02 < share[255] < 0.25
    assert share[LABELS.names.index("road")] > 0.15


def test_scenes_are_laid_out_like_streets(scenes):
    labels = np.stack([LABELS.to_train_ids(labels) for _, labels in scenes])
    rows = np.arange(SIZE[0])[None, :, None]
    height = {name: (rows * (labels == i)).sum() / (labels == i).sum()
              for i, name in enumerate(LABELS.names)}  # fmt: skip
    assert height["sky"] < height["building"] < height["car"] < height["road"]
    assert (labels[:, : SIZE[0] // 4] == LABELS.names.index("road")).sum() == 0


def test_colour_and_place_alone_do_not_give_the_labels_away(scenes):
    """The best label of each colour and height, learned on the same pictures, is a poor one."""
    images = np.stack([image for image, _ in scenes])
    labels = np.stack([LABELS.to_train_ids(labels) for _, labels in scenes])
    rows = np.broadcast_to(np.arange(SIZE[0])[None, :, None] // 16, labels.shape)
    key = (images // 32).astype(np.int64) @ np.array([64, 8, 1]) * 8 + rows
    votes = np.zeros((key.max() + 1, 19), np.int64)
    known = labels != 255
    np.add.at(votes, (key[known], labels[known]), 1)
    guessed = votes.argmax(1).astype(np.uint8)[key]
    assert mean_iou(confusion_matrix(guessed, labels, num_classes=19)) < 0.45


def test_haze_and_fences_let_what_is_behind_show():
    camera = Camera((32, 64), 70.0, 32.0, 14.0, 1.4, 0.0)
    canvas = Canvas(camera, haze=(200.0, 200.0, 200.0), visibility_m=50.0)
    assert canvas.hazed((0, 0, 0), 1.0) < canvas.hazed((0, 0, 0), 100.0)
    face = upright_face(camera, (-1.0, 8.0), (1.0, 8.0), 0.0, 2.0)
    assert face is not None
    bars = face.along % 0.5 < 0.25
    canvas.face(face, np.full((*face.up.shape, 3), 90, np.float32), Id.FENCE, painted=bars)
    image, labels = np.asarray(canvas.image), np.asarray(canvas.labels)
    assert (labels == Id.FENCE).sum() == face.inside.sum()
    assert 0 < (image[..., 0] > 0).sum() < face.inside.sum()
