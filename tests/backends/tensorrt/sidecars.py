"""Plans of any bytes with a sidecar that fits them, so that every refusal can be tried."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from artoolkit.backends.tensorrt.library import machine
from artoolkit.backends.tensorrt.options import BuildOptions
from artoolkit.evidence.bundle import Bundle
from artoolkit.evidence.engines import sidecar_path
from artoolkit.evidence.seal import write_sealed


def write_plan(
    bundle: Bundle, *, name: str = "engine", options: dict[str, Any] | None = None, **changes: Any
) -> Path:
    """A plan in the bundle for an Orin with TensorRT 10.3, `changes` put over its sidecar."""
    content = b"native code " * 50
    plan = bundle.engines / f"{name}.plan"
    plan.parent.mkdir(exist_ok=True)
    plan.write_bytes(content)
    library = changes.get("library", "tensorrt")
    values = {
        "schema_version": "1",
        "artoolkit": "0.1.0",
        "created": "2026-01-01T00:00:00+00:00",
        "library": library,
        "library_version": "10.3.0",
        "machine": machine(),
        "compute_capabilities": ("87",),
        "gpu": "Orin, 8 SMs, 1 GiB",
        "driver": "12.6",
        "target": bundle.manifest.target.name,
        "options": BuildOptions(library=library, **(options or {})).model_dump(mode="json"),
        "flags": (),
        "onnx_sha256": "0" * 64,
        "plan_sha256": hashlib.sha256(content).hexdigest(),
        "plan_bytes": len(content),
        "activation_bytes": 12345,
        "weights_bytes": 3376,
        "seconds": 1.0,
        "trtexec": "trtexec",
        "metadata": {},
        "manifest": bundle.manifest.sha256,
    }
    write_sealed(sidecar_path(plan), values | changes)
    return plan
