"""mIoU against cityscapesScripts' own evaluation, and the counting by hand."""

from copy import copy
from pathlib import Path

import numpy as np
import pytest
from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as official
from cityscapesscripts.helpers.labels import name2label
from hypothesis import given
from hypothesis import strategies as st

from artoolkit.data import open_dataset
from artoolkit.data.image_files import write_png
from artoolkit.data.synthetic import synthesize
from artoolkit.metrics import class_iou, confusion_matrix, mean_iou, pixel_accuracy, summary

maps = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).choice([0, 1, 2, 3, 255], (2, 7, 5)).astype(np.uint8)
)


def perturbed(labels, rng):
    """Label ids as a network might predict them: shifted, with blots of every other id."""
    predicted = np.roll(labels, (1, 2), (0, 1))
    blots = np.kron(rng.random((8, 16)) < 0.25, np.ones((8, 8), bool))
    ids = [label.id for label in name2label.values() if label.id >= 0]
    return np.where(blots, rng.choice(ids, labels.shape), predicted).astype(np.uint8)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """The official result, and the confusion matrices, of the same files."""
    root = tmp_path_factory.mktemp("cityscapes")
    synthesize(root, train=1, val=5, size_hw=(64, 128), seed=11)
    dataset, rng = open_dataset("cityscapes", root), np.random.default_rng(0)
    table, results, matrices, pairs = dataset.labels, root / "results", [], []
    removed = name2label["rider"].id, name2label["train"].id
    for sample in dataset.samples("val"):
        truth = np.array(_read(sample.label))
        truth[np.isin(truth, removed)] = name2label["license plate"].id % 256
        truth[truth == 255] = 0  # cityscapesScripts has no number for -1 in a file
        predicted = perturbed(truth, rng)
        predicted[predicted == removed[1]] = 0  # rider is predicted but absent, train is neither
        write_png(truth, sample.label)
        write_png(predicted, results / dataset.prediction_name(sample))
        train_ids = table.to_train_ids(predicted)
        matrices.append(confusion_matrix(train_ids, dataset.read_label(sample), num_classes=19))
        pairs.append(str(sample.label))
    return _official(pairs, results), np.sum(matrices, 0), table


def _read(path: Path):
    from PIL import Image

    return Image.open(path)


def _official(truths, results):
    args = copy(official.args)
    args.predictionPath, args.predictionWalk = str(results), None
    args.evalInstLevelScore, args.JSONOutput, args.quiet = False, False, True
    # The files are found by name, as the test server finds them.
    predictions = [official.getPrediction(args, truth) for truth in truths]
    return official.evaluateImgLists(predictions, truths, args)


def test_miou_equals_cityscapes_scripts(evaluated):
    result, matrix, _ = evaluated
    assert mean_iou(matrix) == pytest.approx(result["averageScoreClasses"], abs=1e-6)


def test_every_class_equals_cityscapes_scripts(evaluated):
    result, matrix, table = evaluated
    for name, iou in zip(table.names, class_iou(matrix), strict=True):
        assert iou == pytest.approx(result["classScores"][name], abs=1e-6, nan_ok=True), name


def test_the_set_has_an_absent_a_falsely_predicted_and_void_classes(evaluated):
    """Otherwise the comparison above would show less than it seems to."""
    result, matrix, table = evaluated
    scores, counts = result["classScores"], np.array(result["confMatrix"])
    assert np.isnan(scores["train"])
    assert scores["rider"] == 0
    assert matrix[:, table.names.index("rider")].sum() > 0
    for void in ("unlabeled", "ego vehicle", "out of roi", "static"):
        assert counts[name2label[void].id].sum() > 0, void
    assert matrix[:, -1].sum() > 0
    assert sum(score > 0 for score in scores.values()) >= 10


def test_a_confusion_matrix_by_hand():
    labels = np.array([[0, 0, 1], [1, 255, 1]], np.uint8)
    predicted = np.array([[0, 1, 1], [7, 0, 1]], np.uint8)
    matrix = confusion_matrix(predicted, labels, num_classes=2)
    # row: label; the last column: predicted as no class at all
    assert matrix.tolist() == [[1, 1, 0], [0, 2, 1]]
    assert class_iou(matrix).tolist() == [1 / 2, 2 / 4]
    assert mean_iou(matrix) == 0.5
    assert pixel_accuracy(matrix) == 3 / 5


def plain_counts(predicted, labels, classes):
    expected = np.zeros((classes, classes + 1), np.int64)
    for p, label in zip(predicted.ravel(), labels.ravel(), strict=True):
        if label != 255:
            expected[label, min(p, classes)] += 1
    return expected


@given(maps)
def test_counting_equals_a_plain_loop(pair):
    matrix = confusion_matrix(*pair, num_classes=4)
    assert np.array_equal(matrix, plain_counts(*pair, 4))


@given(maps, st.tuples(st.integers(1, 12), st.integers(1, 12)), st.sampled_from([0.0, 0.05, 0.3]))
def test_smooth_maps_are_counted_like_noise(pair, cell, noise):
    predicted, labels = (np.kron(one, np.ones(cell, np.uint8)) for one in pair)
    rng = np.random.default_rng(cell[0])
    predicted = np.where(rng.random(labels.shape) < noise, 1, predicted).astype(np.uint8)
    matrix = confusion_matrix(predicted, labels, num_classes=4)
    assert matrix.dtype == np.int64
    assert np.array_equal(matrix, plain_counts(predicted, labels, 4))


def test_maps_that_are_no_plain_block_of_memory():
    labels, predicted = np.random.default_rng(0).integers(0, 3, (2, 12, 16)).astype(np.uint8)
    views = predicted.T[::2], labels.T[::2]
    expected = plain_counts(*map(np.ascontiguousarray, views), 3)
    assert np.array_equal(confusion_matrix(*views, num_classes=3), expected)


def test_maps_without_pixels_count_nothing():
    empty = np.zeros((0, 5), np.uint8)
    assert not confusion_matrix(empty, empty, num_classes=2).any()


@given(maps)
def test_iou_is_intersection_over_union_of_the_masks(pair):
    predicted, labels = pair
    iou = class_iou(confusion_matrix(predicted, labels, num_classes=4))
    known = labels != 255
    for c in range(4):
        union = (known & ((predicted == c) | (labels == c))).sum()
        both = (known & (predicted == c) & (labels == c)).sum()
        assert np.isnan(iou[c]) if union == 0 else iou[c] == pytest.approx(both / union)


@given(maps, maps)
def test_matrices_add_up_over_images(first, second):
    def matrix(pair):
        return confusion_matrix(*pair, num_classes=4)

    together = np.concatenate([first, second], axis=1)
    assert np.array_equal(matrix(together), matrix(first) + matrix(second))
    assert np.array_equal(class_iou(np.stack([matrix(first)]))[0], class_iou(matrix(first)),
                          equal_nan=True)  # fmt: skip


def test_an_ignored_class_is_left_out_like_void():
    labels = np.array([[0, 1, 1]], np.uint8)
    matrix = confusion_matrix(labels, labels, num_classes=2, ignore_index=0)
    assert matrix.tolist() == [[0, 0, 0], [0, 2, 0]]
    with pytest.raises(ValueError, match=r"label ids \[255\]"):
        confusion_matrix(labels, np.array([[255, 1, 1]], np.uint8), num_classes=2, ignore_index=0)


def test_labels_out_of_range_are_named():
    labels = np.array([[0, 5, 9]], np.uint8)
    with pytest.raises(ValueError, match=r"label ids \[5, 9\] are neither below 2 nor 255"):
        confusion_matrix(labels, labels, num_classes=2)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"\(2, 3\) and labels \(3, 2\) differ in shape"):
        confusion_matrix(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8), num_classes=2)


def test_nothing_labelled_is_an_error_not_a_nan():
    empty = np.zeros((3, 4), np.int64)
    for measure in (mean_iou, pixel_accuracy):
        with pytest.raises(ValueError, match="no labelled pixel was counted"):
            measure(empty)


def test_the_summary_uses_the_fields_keys_in_percent_and_none_for_undefined():
    matrix = np.array([[3, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    assert summary(matrix, ("road", "car", "sky")) == {
        "mIoU": 37.5, "aAcc": 75.0, "IoU.road": 75.0, "IoU.car": 0.0, "IoU.sky": None
    }  # fmt: skip
