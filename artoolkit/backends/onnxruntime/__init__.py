"""ONNX Runtime: runs everywhere, on the CPU by default. Read `runner.py`."""

from __future__ import annotations

from artoolkit.backends.onnxruntime.backend import OnnxRuntime as BACKEND

__all__ = ["BACKEND"]
