"""One way from an image to its labels: of runners and of networks, as they are and as they were."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny import LABELS

from artoolkit.backends.runner import Feeds, OpenRunner, Outputs
from artoolkit.errors import BackendError, DataError, UsageError
from artoolkit.evaluation.predictor import NetworkPredictor, RunnerPredictor, predicted
from artoolkit.networks import Network, build
from artoolkit.preprocess import normalise
from artoolkit.spec import RunnerSpec, TensorSpec

Pixels = NDArray[np.uint8]


class HalfSize(OpenRunner):
    """A runner of static batch 2 at 4 x 6 pixels that answers with the red channel."""

    def __init__(self) -> None:
        image = TensorSpec(name="image", dtype="uint8", shape=(2, 4, 6, 3))
        super().__init__(RunnerSpec(backend="torch", device="cpu", inputs=(image,), outputs=()))

    def _infer(self, feeds: Feeds) -> Outputs:
        return {"labels": feeds["image"][..., 0]}

    def _release(self) -> None: ...


def test_a_runner_gets_its_size_and_batch_and_labels_come_back_at_the_images() -> None:
    images = [np.full((8, 12, 3), value, np.uint8) for value in (3, 4, 5)]
    with RunnerPredictor(HalfSize(), LABELS) as predictor:
        labels = predictor(images)
    assert [label.shape for label in labels] == [(8, 12)] * 3
    assert [int(label[0, 0]) for label in labels] == [3, 4, 5]
    with pytest.raises(BackendError, match="was closed"):
        predictor(images)


def test_a_runner_without_scores_says_what_has_them() -> None:
    with pytest.raises(UsageError) as refused:
        RunnerPredictor(HalfSize(), LABELS).scores(np.zeros((4, 6, 3), np.uint8))
    assert refused.value.hint is not None
    assert "onnxruntime" in refused.value.hint


class Painter(Network):
    """Sees the colors: scores at 1/4 that are right but for what resizing blurs."""

    def __init__(self) -> None:
        super().__init__(3)
        self.align_corners = False
        self.seen: list[tuple[int, ...]] = []
        self.part = torch.nn.Dropout()

    def forward(self, images_B3HW: torch.Tensor) -> torch.Tensor:
        assert not self.part.training
        self.check_size(images_B3HW)
        self.seen.append(tuple(images_B3HW.shape))
        return torch.nn.functional.avg_pool2d(images_B3HW, 4)


def noise(*size_hw: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (*size_hw, 3)).astype(np.uint8)


def test_each_image_keeps_its_size_unless_the_network_has_one() -> None:
    images = [noise(40, 56), noise(61, 47)]
    painter = Painter()
    with NetworkPredictor(painter, LABELS) as predictor:
        assert [one.shape for one in predictor(images)] == [(40, 56), (61, 47)]
    with NetworkPredictor(painter, LABELS, input_hw=(32, 64)) as predictor:
        assert [one.shape for one in predictor(images)] == [(40, 56), (61, 47)]
        assert predictor.last_scores is not None
        assert predictor.last_scores.shape == (1, 3, 8, 16)
    assert painter.seen == [(1, 3, 40, 56), (1, 3, 61, 47), *[(1, 3, 32, 64)] * 2]


def test_the_network_is_left_as_it_was() -> None:
    painter = Painter().train()
    painter.part.eval()
    weights = torch.get_num_threads()
    with NetworkPredictor(painter, LABELS, threads=1) as predictor:
        predictor([noise(40, 56)])
        assert predictor.network is painter
        assert not painter.training
    assert painter.training
    assert not painter.part.training
    assert torch.get_num_threads() == weights


def test_labels_are_the_argmax_of_the_upsampled_scores() -> None:
    torch.manual_seed(0)
    network, image = build("icnet", num_classes=19, width=0.25).eval(), noise(64, 96)
    with torch.inference_mode():
        scores = network(torch.from_numpy(normalise(image[None], network.preprocess)))
        full = torch.nn.functional.interpolate(
            scores, (64, 96), mode="bilinear", align_corners=network.align_corners
        )
    (labels,) = NetworkPredictor(network, LABELS)([image])
    assert len(np.unique(labels)) > 1
    assert (labels == full.argmax(1)[0].numpy()).mean() > 0.999


def test_nothing_of_a_training_run_moves_a_label() -> None:
    """Precision of the step, layout of the weights, mode of the modules: all of one network."""
    torch.manual_seed(0)
    network, image = build("icnet", num_classes=19, width=0.25).eval(), noise(65, 97)
    (expected,) = NetworkPredictor(network, LABELS)([image])
    image.flags.writeable = False
    network.train()
    with torch.autocast("cpu", dtype=torch.bfloat16), NetworkPredictor(network, LABELS) as inner:
        np.testing.assert_array_equal(inner([image])[0], expected)
    network.to(memory_format=torch.channels_last)
    with NetworkPredictor(network, LABELS) as laid_out:
        np.testing.assert_array_equal(laid_out([image])[0], expected)


def test_what_the_network_cannot_take_is_one_line() -> None:
    with NetworkPredictor(Painter(), LABELS) as predictor, pytest.raises(BackendError) as refused:
        predictor([noise(20, 40)])
    assert "20 x 40" in str(refused.value.got)
    if not torch.cuda.is_available():
        with pytest.raises(BackendError):
            NetworkPredictor(Painter(), LABELS, device="cuda:0")


@pytest.mark.parametrize("threads", [1, 3])
def test_images_are_read_ahead_and_predicted_in_order(threads: int) -> None:
    def read(value: int) -> tuple[Pixels, int]:
        if value == 6:
            raise DataError("no such image")
        return np.full((4, 6, 3), value, np.uint8), -value

    found = predicted(RunnerPredictor(HalfSize(), LABELS), range(9), read, threads=threads)
    seen = []
    with pytest.raises(DataError):
        for item, image, more, labels in found:
            assert image[0, 0, 0] == item == -more
            seen.append(int(labels[0, 0]))
    assert seen == [0, 1, 2, 3, 4, 5]
