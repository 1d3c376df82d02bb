"""Which installed libraries do not fit this machine's driver, and what to install in their place.

A library of CUDA 13 needs a driver of CUDA 13 (580 or newer); one of CUDA 12 runs on both.
"""

from __future__ import annotations

from importlib import metadata
from typing import Any

from artoolkit.backends.tensorrt.cuda.driver import driver_version
from artoolkit.backends.tensorrt.library import version_tuple
from artoolkit.errors import EngineError

# Distribution -> the CUDA it is of (None: its own major version), and the one for CUDA 12.
_OF_CUDA: dict[str, tuple[int | None, str]] = {
    "cuda-bindings": (None, '"cuda-bindings<13"'),
    "tensorrt-cu13": (13, "tensorrt-cu12 in place of tensorrt-cu13"),
    "tensorrt-rtx-cu13": (13, "tensorrt-rtx-cu12 in place of tensorrt-rtx-cu13"),
}


def misfits(driver: str | None = None) -> tuple[str, ...]:
    """A sentence for each library that is too new for the driver (None: this machine's)."""
    driver = driver or driver_version()
    if driver is None:
        return ()
    found = []
    for name, (cuda, cure) in _OF_CUDA.items():
        for distribution in metadata.distributions(name=name):
            version = distribution.version
            if (cuda or version_tuple(version)[0]) > version_tuple(driver)[0]:
                found.append(f"driver {driver}, {name} {version}: install {cure}")
                break
    return tuple(found)


def made(make: Any, logger: Any, what: str) -> Any:
    """Result of `make(logger)`, a library's Builder or Runtime; `EngineError` where it gives none.

    Without a driver that fits, older bindings return None and newer ones raise `TypeError`.
    """
    try:
        thing = make(logger)
    except TypeError:
        thing = None
    if thing is None:
        errors: list[str] = logger.errors
        raise EngineError(
            f"{what} does not start: {errors[-1] if errors else 'the library gave no reason'}",
            hint="; ".join(misfits()) or "Check the driver: artoolkit doctor",
        )
    return thing
