"""TensorRT and TensorRT for RTX: engines, built on a device or ahead of time. Read `backend.py`."""

from __future__ import annotations

from artoolkit.backends.tensorrt.backend import RTX
from artoolkit.backends.tensorrt.backend import TensorRT as BACKEND

__all__ = ["BACKEND", "RTX"]
