"""One second on the GPU: memory, copies, events, and a CUDA graph where the provider has them."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import numpy as np

from artoolkit.backends.tensorrt.cuda import open_cuda
from artoolkit.errors import BackendError
from artoolkit.fresh_process import Progress, call_fresh
from artoolkit.words import CudaMemory

_SIZE = 1 << 20


def self_test(device: str = "cuda:0", provider: CudaMemory = "cuda-bindings") -> str:
    """The answer in words; a `BackendError` says which call failed.

    In a fresh process: an error of CUDA can spoil all later calls of a process.
    """
    request = {"device": device, "provider": provider}
    answer = call_fresh(f"{__name__}:tested", request, what="that tried the GPU", timeout_s=60.0)
    words: str = answer["words"]
    return words


def tested(request: dict[str, Any], _: Progress) -> dict[str, Any]:
    """The other end of `self_test`."""
    with closing(open_cuda(request["device"], request["provider"])) as cuda:
        stream, pointer = cuda.stream(), cuda.alloc(_SIZE)
        sent, back = cuda.pinned(_SIZE), cuda.pinned(_SIZE)
        begin, end = cuda.event(), cuda.event()
        # 251 is prime, so that a shifted copy differs.
        sent[:], back[:] = np.arange(_SIZE) % 251, 0
        cuda.record(begin, stream)
        cuda.upload(pointer, sent, stream)
        cuda.download(back, pointer, stream)
        cuda.record(end, stream)
        cuda.synchronize(stream)
        _same(sent, back, "a copy there and back")
        back[:] = 0
        launch = cuda.capture(stream, lambda: cuda.download(back, pointer, stream))
        if launch is not None:
            launch()
            cuda.synchronize(stream)
            _same(sent, back, "a CUDA graph")
        words = f"1 MiB there and back in {cuda.elapsed_ms(begin, end):.2f} ms"
        cuda.free(pointer)
        for host in (sent, back):
            cuda.free_pinned(host)
        for event in (begin, end):
            cuda.free_event(event)
        cuda.free_stream(stream)
    return {"words": f"{words}, {'a CUDA graph' if launch else 'no CUDA graphs'}"}


def _same(sent: Any, back: Any, what: str) -> None:
    if not np.array_equal(sent, back):
        raise BackendError(f"{what} gives other bytes", hint="Check the GPU with nvidia-smi.")
