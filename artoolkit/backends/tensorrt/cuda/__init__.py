"""CUDA by one of two providers: cuda-bindings or pycuda.

`cuda-bindings` (the default) has wheels for x86-64 and aarch64 and CUDA graphs; `pycuda` is what
robotics code often has, compiled against its CUDA toolkit. Both use the device's primary context,
which torch, ONNX Runtime and TensorRT share. Read `interface.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from artoolkit.backends.tensorrt.cuda.bindings import CudaBindings
from artoolkit.backends.tensorrt.cuda.interface import Bytes, Cuda, Gpu, Launch
from artoolkit.backends.tensorrt.cuda.pycuda import PyCuda
from artoolkit.errors import UsageError
from artoolkit.words import CudaMemory

__all__ = ["Bytes", "Cuda", "Gpu", "Launch", "device_index", "gpu_of", "open_cuda"]

_PROVIDERS: dict[CudaMemory, Callable[[int], Cuda]] = {
    "cuda-bindings": CudaBindings,
    "pycuda": PyCuda,
}


def device_index(device: str) -> int:
    """`cuda`, `cuda:1` or `dla:0` -> the GPU's number (a DLA belongs to GPU 0)."""
    kind, _, index = device.partition(":")
    if kind == "dla":
        return 0
    if kind != "cuda" or (index and not index.isdecimal()):
        raise UsageError("this needs an NVIDIA GPU", got=device, expected="cuda:0")
    return int(index or 0)


def open_cuda(device: str = "cuda:0", provider: CudaMemory = "cuda-bindings") -> Cuda:
    """The device through a provider, or an error that says what is missing: library or driver."""
    return _PROVIDERS[provider](device_index(device))


def gpu_of(device: str, provider: CudaMemory) -> Gpu:
    """The GPU behind a device, as its driver describes it; errors as `open_cuda`."""
    with closing(open_cuda(device, provider)) as cuda:
        return cuda.gpu
