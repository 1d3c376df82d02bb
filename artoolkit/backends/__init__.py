"""What computes: one runner protocol, one module a backend, vendor libraries imported late.

Read `runner.py` first; `open_runner` picks the backend of a bundle.
"""

from __future__ import annotations

from artoolkit.backends.runner import Runner
from artoolkit.errors import UsageError
from artoolkit.evidence.bundle import Bundle
from artoolkit.words import LIBRARIES, LibraryName

__all__ = ["Runner", "device_of", "open_runner"]


def device_of(bundle: Bundle, *, backend: str | None = None, device: str | None = None) -> str:
    """The device that was asked for, or else the target's; the first GPU where an engine of a
    bundle that was made for a CPU is meant."""
    target = bundle.manifest.target
    if device is None and target.device == "cpu" and (backend or target.backend) in LIBRARIES:
        return "cuda:0"
    return device or target.device


def open_runner(
    bundle: Bundle,
    *,
    backend: str | None = None,
    device: str | None = None,
    threads: int | None = None,
) -> Runner:
    """Open a bundle on `backend` and `device`; None: those of the bundle's target.

    Raises `UsageError` for a backend that bundles do not run on, `BackendError` (or
    `EngineError`) where the graph or engine cannot be opened here, `MissingLibraryError`.
    """
    target = bundle.manifest.target
    device = device_of(bundle, backend=backend, device=device)
    backend = backend or target.backend
    if backend == "onnxruntime":
        from artoolkit.backends.onnxruntime.runner import open_onnxruntime

        return open_onnxruntime(
            bundle.model,
            device=device,
            threads=threads or target.threads,
            chosen=target.session,
        )
    if backend in LIBRARIES:
        from artoolkit.backends.tensorrt.runner import open_tensorrt

        library: LibraryName = "tensorrt" if backend == "tensorrt" else "tensorrt-rtx"
        return open_tensorrt(bundle, library=library, device=device)
    raise UsageError(
        "no bundle runs on this backend", got=backend, expected="onnxruntime or tensorrt[-rtx]"
    )
