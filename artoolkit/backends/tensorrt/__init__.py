"""TensorRT and TensorRT for RTX: engines, built on a device or ahead of time.

`backend.py` is what artoolkit asks. From ONNX to an engine: `loader.py` (`engine_from_onnx`, and
`sidecar.py` beside the engine), by `build.py` in a fresh process with `options.py`. From an engine
to labels: `runner.py`, over `loaded.py` and `cuda/`. Are two programs one? `program.py` for RTX,
byte by byte (`weights.py`, `operations.py`), `pair.py` for tensorrt, layer by layer (`layers.py`).
"""

from __future__ import annotations

from artoolkit.backends.tensorrt.backend import RTX
from artoolkit.backends.tensorrt.backend import TensorRT as BACKEND

__all__ = ["BACKEND", "RTX"]
