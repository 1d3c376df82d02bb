"""Runtimes by name: one folder each, vendor libraries imported late.

A backend is registered by one line in `artoolkit/words.py`, or by `register`. Read `backend.py`
(what a backend answers) and `runner.py` (what an open one does) next.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artoolkit.errors import UsageError
from artoolkit.words import BACKENDS

if TYPE_CHECKING:
    from artoolkit.backends.backend import Backend, Model
    from artoolkit.backends.runner import Runner
    from artoolkit.evidence.bundle import Bundle

__all__ = ["backend_for", "backend_named", "backend_names", "open_runner", "register"]


def register(name: str, module: str) -> None:
    """Add a backend: `module` offers a `Backend` as BACKEND, or as what follows a colon."""
    BACKENDS[name] = module


def backend_names() -> tuple[str, ...]:
    """Every registered backend, in the order of registration; nothing is imported."""
    return tuple(BACKENDS)


def backend_named(name: str, **options: Any) -> Backend:
    """The backend called `name`, with options that only it has (`cuda_memory="pycuda"`).

    Raises `UsageError` for an unknown name or option.
    """
    if name not in BACKENDS:
        raise UsageError("no backend has this name", got=name, expected=", ".join(BACKENDS))
    module, _, attribute = BACKENDS[name].partition(":")
    backend: type[Backend] = getattr(import_module(module), attribute or "BACKEND")
    return backend.configured(options)


def backend_for(model: Model, name: str | None = None, **options: Any) -> Backend:
    """Backend of `model`: the one called `name`, else a bundle's target's, or a file's by its
    ending, with options that only it has.

    Raises `UsageError` for an unknown name or option, or a file that no backend opens.
    """
    if name is not None:
        return backend_named(name, **options)
    if not isinstance(model, Path):
        return backend_named(model.manifest.target.backend, **options)
    name = next((one for one in BACKENDS if backend_named(one).opens(model)), None)
    if name is None:
        raise UsageError(f"no backend runs {model}", hint="Give a bundle or an .onnx file.")
    return backend_named(name, **options)


def open_runner(
    bundle: Bundle,
    *,
    backend: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    **options: Any,
) -> Runner:
    """Open a bundle on `backend` and `device`; None: those of the bundle's target.

    `options` are those of `backend_named`. Errors as `Backend.open`.
    """
    chosen = backend_for(bundle, backend, **options)
    return chosen.open(bundle, device=chosen.device_for(bundle, device), threads=threads)
