"""PyTorch as a backend: several outputs, devices, and the module that does not fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from artoolkit.backends.torch.runner import open_torch
from artoolkit.errors import BackendError

SHAPE = (2, 4, 6, 3)


class Pair(nn.Module):
    """Labels and scores; in training mode something else."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.9)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        scores = self.drop(image.float().permute(0, 3, 1, 2))
        return scores.argmax(1).to(torch.uint8), scores


def test_outputs_are_named_in_order_and_the_module_is_in_evaluation_mode() -> None:
    images = np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)
    with open_torch(Pair().train(), SHAPE, outputs=("labels", "scores")) as runner:
        found = runner.infer(images)
    np.testing.assert_array_equal(found["scores"], images.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(found["labels"], images.argmax(-1))
    assert [(t.name, t.dtype, t.shape) for t in runner.spec.outputs] == [
        ("labels", "uint8", (2, 4, 6)),
        ("scores", "float32", (2, 3, 4, 6)),
    ]


@pytest.mark.parametrize("tf32", [False, True])
def test_float32_rounds_to_tf32_where_it_was_asked_for_alone(tf32: bool) -> None:
    seen: list[bool] = []

    class Seeing(Pair):
        def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            seen.extend((torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32))
            return super().forward(image)

    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    with open_torch(Seeing(), SHAPE, outputs=("labels", "scores"), tf32=tf32) as runner:
        runner.infer(np.zeros(SHAPE, np.uint8))
    assert seen == [tf32] * 4 and runner.spec.settings["tf32"] is tf32
    after = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    assert after == before


def test_another_number_of_outputs_is_refused() -> None:
    with pytest.raises(BackendError, match="returned 2 outputs; expected 1"):
        open_torch(Pair(), SHAPE)


@pytest.mark.parametrize(
    ("device", "message"),
    [("toaster", "no such device; got toaster"), ("cuda:99", "cannot use cuda:99 here")],
)
def test_a_device_that_is_not_there_is_refused(device: str, message: str) -> None:
    with pytest.raises(BackendError, match=message):
        open_torch(Pair(), SHAPE, device=device)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_the_gpu_gives_what_the_cpu_gives() -> None:
    images = np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)
    results = []
    for device in ("cpu", "cuda:0"):
        with open_torch(Pair(), SHAPE, device=device, outputs=("labels", "scores")) as runner:
            results.append(runner.infer(images))
    np.testing.assert_array_equal(results[0]["labels"], results[1]["labels"])
