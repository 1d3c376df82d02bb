"""PyTorch as a backend: the trained network itself, wrapped as it is deployed.

Any module works that takes uint8 N x H x W x 3 and returns one tensor, or a tuple in the order of
`outputs`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from artoolkit.backends.runner import Feeds, OpenRunner, Outputs
from artoolkit.errors import BackendError
from artoolkit.spec import RunnerSpec, TensorSpec


class TorchRunner(OpenRunner):
    """An open module; see `open_torch`."""

    def __init__(self, module: nn.Module, spec: RunnerSpec, device: torch.device) -> None:
        super().__init__(spec)
        self._tf32 = bool(spec.settings["tf32"])
        self._module: nn.Module | None = module
        self._device = device

    def _infer(self, feeds: Feeds) -> Outputs:
        assert self._module is not None, "infer is not reached after close"
        (images,) = feeds.values()
        with _allowing(tf32=self._tf32):
            tensors = _forward(self._module, images, self._device)
        names = (tensor.name for tensor in self.spec.outputs)
        return {name: value.numpy() for name, value in zip(names, tensors, strict=True)}

    def _release(self) -> None:
        self._module = None


def open_torch(
    module: nn.Module,
    shape_NHW3: tuple[int, int, int, int],
    *,
    device: str = "cpu",
    outputs: tuple[str, ...] = ("labels",),
    tf32: bool = False,
) -> TorchRunner:
    """Open `module`, in evaluation mode and moved to `device` (cpu, 0 or cuda:0).

    `tf32`: whether convolutions and products of float32 may round to TF32. It runs once to
    learn the shapes of its outputs. `BackendError` if the device is not there, or if the module
    does not return one tensor per name of `outputs`.
    """
    place = torch_device(device)
    module = module.eval().to(place)
    probe = np.zeros(shape_NHW3, np.uint8)
    with _allowing(tf32=tf32):
        tensors = _forward(module, probe, place)
    if len(tensors) != len(outputs):
        raise BackendError(
            f"the module returned {len(tensors)} outputs", expected=f"{len(outputs)}: {outputs}"
        )
    spec = RunnerSpec(
        backend="torch",
        device=device,
        inputs=(TensorSpec(name="image", dtype="uint8", shape=shape_NHW3),),
        outputs=tuple(_tensor(n, t) for n, t in zip(outputs, tensors, strict=True)),
        settings={
            "version": torch.__version__,
            "threads": torch.get_num_threads(),
            "tf32": tf32,
            "deterministic": torch.are_deterministic_algorithms_enabled(),
        },
    )
    return TorchRunner(module, spec, place)


@contextmanager
def _allowing(*, tf32: bool) -> Iterator[None]:
    """TF32 in convolutions (torch's own default) and products, or in neither, and as before."""
    convolution, product = torch.backends.cudnn, torch.backends.cuda.matmul
    before = convolution.allow_tf32, product.allow_tf32
    convolution.allow_tf32 = product.allow_tf32 = tf32
    try:
        yield
    finally:
        convolution.allow_tf32, product.allow_tf32 = before


def torch_device(device: str) -> torch.device:
    """`cpu`, `0` or `cuda:0` as torch's; `BackendError` where it is not there."""
    try:
        place = torch.device(f"cuda:{device}" if device.isdigit() else device)
    except RuntimeError as error:
        raise BackendError(
            "PyTorch has no such device", got=device, expected="cpu, 0 or cuda:0"
        ) from error
    if place.type == "cuda" and (place.index or 0) >= torch.cuda.device_count():
        raise BackendError(
            f"PyTorch cannot use {device} here",
            got=f"{torch.cuda.device_count()} CUDA devices",
            hint="See: artoolkit doctor",
        )
    return place


def _forward(
    module: nn.Module, images: NDArray[np.uint8], device: torch.device
) -> tuple[Tensor, ...]:
    """The module's outputs in host memory. A copy from the GPU waits for the GPU."""
    # A read-only array, as Pillow gives, cannot be shared with a tensor.
    own = images if images.flags.writeable else images.copy()
    with torch.inference_mode():
        result = module(torch.from_numpy(own).to(device))
        tensors = result if isinstance(result, tuple) else (result,)
        on_host = tuple(tensor.cpu() for tensor in tensors)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return on_host


def _tensor(name: str, value: Tensor) -> TensorSpec:
    return TensorSpec(name=name, dtype=str(value.dtype).split(".")[-1], shape=tuple(value.shape))
