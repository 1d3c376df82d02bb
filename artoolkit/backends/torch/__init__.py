"""PyTorch: the trained network itself. Read `runner.py`."""

from __future__ import annotations

from artoolkit.backends.torch.backend import Torch as BACKEND

__all__ = ["BACKEND"]
