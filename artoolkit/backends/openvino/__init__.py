"""OpenVINO: Intel's and AMD's CPUs in fp32, bf16 and int8, Intel's GPUs and NPUs.

Read `backend.py`.
"""

from __future__ import annotations

from artoolkit.backends.openvino.backend import OpenVino as BACKEND

__all__ = ["BACKEND"]
