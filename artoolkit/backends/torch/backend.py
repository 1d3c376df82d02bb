"""PyTorch as artoolkit asks it: it runs checkpoints (`artoolkit.deploy` makes modules of them)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from artoolkit.backends.backend import Backend, Model
from artoolkit.errors import UsageError


@dataclass(frozen=True)
class Torch(Backend):
    """Runs modules that are open already, by `artoolkit.backends.torch.runner.open_torch`."""

    name = "torch"
    title = "PyTorch"
    devices = ("cpu", "cuda")
    checkpoints = True

    def open(
        self,
        model: Model,
        *,
        device: str,
        threads: int | None = None,
        outputs: Sequence[str] | None = None,
    ) -> NoReturn:
        raise UsageError(
            "unsupported backend 'torch' for a bundle", hint="Give its checkpoint instead."
        )
