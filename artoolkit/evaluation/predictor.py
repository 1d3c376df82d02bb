"""The one way from an image to its label map, whatever computes it.

A `Predictor` brings each image to the network's size and the labels back to the image's, by
`artoolkit.preprocess` alone. With torch, normalisation, upsampling and argmax are those of the
module that is exported (`artoolkit.deploy.graph`); everywhere else they are in the graph. Read
`opening.py` next: it makes a predictor of a file. Legend: C classes, H W pixels, h w positions of
the score map.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from artoolkit.backends.runner import images_shape
from artoolkit.data.overlap import read_ahead
from artoolkit.errors import BackendError, UsageError
from artoolkit.labels import LabelTable
from artoolkit.optional import require
from artoolkit.preprocess import fit_image, fit_labels

if TYPE_CHECKING:
    import torch
    from torch import nn

    from artoolkit.backends.runner import Outputs, Runner
    from artoolkit.networks import Network

Pixels = NDArray[np.uint8]
SizeHW = tuple[int, int]
Item = TypeVar("Item")
More = TypeVar("More")
Self = TypeVar("Self", bound="Predictor")


class Predictor(ABC):
    """Called with uint8 RGB images H x W x 3 of any sizes; returns one uint8 train-id map of each
    image's size.

    `labels` names the train ids. Images are resized to `input_hw` (height, width); None: each keeps
    its own size. `batch`: how many images a call should have. `fixed`: whether nothing but
    `input_hw` can be computed; otherwise no side may be shorter than `minimum_hw`. `settings`: what
    a measurement records of it.
    """

    labels: LabelTable
    settings: dict[str, Any]
    input_hw: SizeHW | None = None
    batch: int = 1
    fixed: bool = False
    minimum_hw: SizeHW = (1, 1)

    @abstractmethod
    def __call__(self, images: Sequence[Pixels]) -> list[Pixels]: ...

    @abstractmethod
    def scores(self, image: Pixels) -> torch.Tensor:
        """uint8 H x W x 3 as the network takes it -> float32 1 x C x h x w, before upsampling."""

    @abstractmethod
    def close(self) -> None:
        """Let go of what computes; may be called again."""

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


class NetworkPredictor(Predictor):
    """Predicts with a network of torch, one image at a time, in float32 and evaluation mode.

    The network is used as it is, moved to `device` but never copied; `close` gives every module the
    mode back that it was in. `last_scores`: float32 1 x C x h x w of the image that was predicted
    last, on the device. `labels_hw`: the size of the labels before they are brought to the
    image's (None: the network's input), where a target declares one. `threads` of an operator on a
    CPU; None: torch's. `BackendError` where the device is not there.
    """

    def __init__(
        self,
        network: Network,
        labels: LabelTable,
        *,
        device: str = "cpu",
        input_hw: SizeHW | None = None,
        labels_hw: SizeHW | None = None,
        threads: int | None = None,
    ) -> None:
        require("torch", "predicting with a network")
        import torch

        from artoolkit.backends.torch.runner import torch_device
        from artoolkit.deploy.graph import Deployed

        self.labels, self.input_hw, self.minimum_hw = labels, input_hw, network.minimum_hw
        self.network = network
        self.last_scores: torch.Tensor | None = None
        self._device = torch_device(device)
        self._open = ExitStack()
        self._open.callback(_set_modes, {one: one.training for one in network.modules()})
        if threads is not None:
            self._open.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(threads)
        module = Deployed(network, network.preprocess, labels_hw=labels_hw)
        self._module = module.eval().to(self._device)
        self.settings = {
            "backend": "torch", "version": torch.__version__, "device": device, "imgsz": input_hw
        }  # fmt: skip

    def __call__(self, images: Sequence[Pixels]) -> list[Pixels]:
        return [self._predicted(image) for image in images]

    def _predicted(self, image: Pixels) -> Pixels:
        own = (image.shape[0], image.shape[1])
        fitted = fit_image(image, self.input_hw or own)
        labels, self.last_scores = self._computed(self._module.labels_and_scores, fitted)
        return fit_labels(labels[0].cpu().numpy(), own)

    def scores(self, image: Pixels) -> torch.Tensor:
        found: torch.Tensor = self._computed(self._module.scores, image)
        return found

    def _computed(self, compute: Callable[[torch.Tensor], Any], image: Pixels) -> Any:
        """Without gradients, and in float32 whatever precision the caller trains in."""
        import torch

        # A copy: what Pillow hands out is read-only, and a mirrored view has negative strides.
        pixels = torch.from_numpy(np.array(image, order="C")).to(self._device)
        try:
            with torch.inference_mode(), torch.autocast(self._device.type, enabled=False):
                return compute(pixels[None])
        except (ValueError, RuntimeError) as error:
            raise BackendError(
                f"{self.network.name} fails on an image of {image.shape[0]} x {image.shape[1]}",
                got=str(error).partition("\n")[0],
                hint="Give another size with --imgsz H W.",
            ) from error

    def close(self) -> None:
        self._open.close()


def _set_modes(modes: dict[nn.Module, bool]) -> None:
    for module, training in modes.items():
        module.training = training


class RunnerPredictor(Predictor):
    """Predicts with an open runner, in batches of its static size; short ones are filled up.

    `close` closes the runner.
    """

    fixed = True

    def __init__(self, runner: Runner, labels: LabelTable) -> None:
        self.batch, *size_hw = images_shape(runner.spec)
        self.input_hw = self.minimum_hw = (size_hw[0], size_hw[1])
        self.labels, self.settings = labels, runner.spec.model_dump(mode="json")
        self._runner = runner

    def __call__(self, images: Sequence[Pixels]) -> list[Pixels]:
        maps: list[Pixels] = []
        for start in range(0, len(images), self.batch):
            part = images[start : start + self.batch]
            found = self._computed([fit_image(one, self.minimum_hw) for one in part])["labels"]
            maps += [
                fit_labels(labels, (image.shape[0], image.shape[1]))
                for labels, image in zip(found, part, strict=False)
            ]
        return maps

    def _computed(self, fitted: list[Pixels]) -> Outputs:
        return self._runner.infer(np.stack(fitted + fitted[-1:] * (self.batch - len(fitted))))

    def scores(self, image: Pixels) -> torch.Tensor:
        """As in `Predictor`; `UsageError` where the runner was opened without them."""
        require("torch", "averaging the scores of a graph")
        import torch

        found = self._computed([image]).get("scores")
        if found is None:
            raise UsageError(
                f"{self._runner.spec.backend} gives labels alone, without the scores",
                hint="Use --backend onnxruntime, or the checkpoint.",
            )
        return torch.from_numpy(found[:1]).float()

    def close(self) -> None:
        self._runner.close()


def predicted(
    predictor: Predictor,
    items: Iterable[Item],
    read: Callable[[Item], tuple[Pixels, More]],
    *,
    threads: int = 1,
) -> Iterator[tuple[Item, Pixels, More, Pixels]]:
    """Each item with its image, what else `read` gave, and the predicted labels, in order.

    The next images are read by other `threads` while one batch is predicted.
    """
    ahead = read_ahead(read, items, ahead=2 * max(predictor.batch, threads), threads=threads)
    while group := list(islice(ahead, predictor.batch)):
        maps = predictor([image for _, (image, _) in group])
        for (item, (image, more)), labels in zip(group, maps, strict=True):
            yield item, image, more, labels
