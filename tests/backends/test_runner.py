"""Every runner keeps the same promises."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_networks import write_tiny
from torch import nn

from artoolkit.backends import backend_named
from artoolkit.backends.runner import Runner
from artoolkit.backends.torch.runner import open_torch
from artoolkit.errors import BackendError
from artoolkit.optional import is_installed

SHAPE = (1, 32, 64, 3)
BACKENDS = ("onnxruntime", "openvino", "torch")
Opener = Callable[[str], Runner]


class Brightest(nn.Module):
    """uint8 N x H x W x 3 -> the index of the brightest channel."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.argmax(-1).to(torch.uint8)


@pytest.fixture
def opened(tmp_path: Path) -> Opener:
    def opener(backend: str) -> Runner:
        if backend == "torch":
            return open_torch(Brightest(), SHAPE)
        if not is_installed(backend):
            pytest.skip(f"{backend} is not installed")
        model = write_tiny(tmp_path / "tiny.onnx")
        return backend_named(backend).open(model, device="cpu", threads=1)

    return opener


def images(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, SHAPE, np.uint8)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_spec_is_what_infer_takes_and_gives(backend: str, opened: Opener) -> None:
    with opened(backend) as runner:
        spec = runner.spec
        assert spec.backend == backend
        assert spec.device == "cpu"
        assert [(t.name, t.dtype, t.shape) for t in spec.inputs] == [("image", "uint8", SHAPE)]
        outputs = runner.infer(images())
        assert list(outputs) == [t.name for t in spec.outputs] == ["labels"]
        assert (outputs["labels"].dtype.name, outputs["labels"].shape) == (
            spec.outputs[0].dtype, spec.outputs[0].shape,
        )  # fmt: skip
        assert "version" in spec.settings


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_same_image_gives_the_same_labels_which_the_caller_owns(
    backend: str, opened: Opener
) -> None:
    with opened(backend) as runner:
        first = runner.infer(images(1))["labels"]
        kept = first.copy()
        second = runner.infer(images(2))["labels"]
        np.testing.assert_array_equal(first, kept)
        assert not np.array_equal(first, second)
        np.testing.assert_array_equal(runner.infer(images(1))["labels"], kept)


@pytest.mark.parametrize("backend", BACKENDS)
def test_views_and_read_only_images_are_taken(backend: str, opened: Opener) -> None:
    with opened(backend) as runner:
        expected = runner.infer(images())["labels"]
        view = np.ascontiguousarray(images()[:, :, ::-1])[:, :, ::-1]
        view.setflags(write=False)
        np.testing.assert_array_equal(runner.infer(view)["labels"], expected)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (images().astype(np.float32), "got float32 1x32x64x3; expected uint8 1x32x64x3"),
        (images()[:, :-1], "got uint8 1x31x64x3; expected uint8 1x32x64x3"),
        (images()[0], "got uint8 32x64x3"),
        ([[0]], "got list"),
    ],
    ids=["dtype", "size", "rank", "list"],
)
def test_other_images_are_refused_in_one_line(
    backend: str, wrong: np.ndarray, message: str, opened: Opener
) -> None:
    with opened(backend) as runner, pytest.raises(BackendError, match=message) as caught:
        runner.infer(wrong)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_closes_once_and_for_all(backend: str, opened: Opener) -> None:
    runner = opened(backend)
    runner.close()
    runner.close()
    with pytest.raises(BackendError, match=f"this {backend} runner was closed"):
        runner.infer(images())


@pytest.mark.parametrize("backend", BACKENDS)
def test_inputs_may_be_given_by_name(backend: str, opened: Opener) -> None:
    with opened(backend) as runner:
        by_name = runner.infer({"image": images()})["labels"]
        np.testing.assert_array_equal(by_name, runner.infer(images())["labels"])
        with pytest.raises(BackendError, match="got pixels; expected image"):
            runner.infer({"pixels": images()})
