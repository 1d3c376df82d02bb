"""Compiled models beside a bundle: `engines/openvino-<version>-<device>-<processor>.blob`.

A blob opens several times as fast as the ONNX file compiles. Importing one runs native code, so the
sidecar is asked first, as for any engine: another bundle, OpenVINO or processor is refused by name.
"""

from __future__ import annotations

import contextlib
import re
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from artoolkit import __version__
from artoolkit.backends.openvino.loader import (
    capabilities,
    compiled,
    failing,
    openvino_device,
    processor,
)
from artoolkit.errors import BundleError, EngineError, StorageError
from artoolkit.evidence.bundle import Bundle
from artoolkit.evidence.engines import changed_bytes, engine_files, sidecar_path
from artoolkit.evidence.seal import file_sha256, read_sealed, seal, write_sealed
from artoolkit.fresh_process import Progress, call_fresh
from artoolkit.optional import require
from artoolkit.spec import Frozen, problems

BLOB = ".blob"


class Sidecar(Frozen):
    """A sealed record beside `<name>.blob`, called `<name>.json`.

    `processor` and `capabilities` are OpenVINO's names of the hardware and of what it computes in;
    `plan_*` are of the blob, as for every engine. Threads are none of a blob: it takes any.
    """

    schema_version: Literal["1"]
    artoolkit: str
    created: str
    library: Literal["openvino"]
    library_version: str
    device: str
    processor: str
    capabilities: tuple[str, ...]
    precision: str
    float_precision: str
    onnx_sha256: str
    plan_sha256: str
    plan_bytes: int
    seconds: float
    manifest: str
    sha256: str

    def foreign(self, device: str) -> str | None:
        """Reason why this machine cannot take the blob, or None."""
        version = library_version()
        if self.library_version != version:
            return f"was compiled by OpenVINO {self.library_version}; this machine has {version}"
        if (self.processor, self.capabilities) != (processor(device), capabilities(device)):
            able = ", ".join(self.capabilities)
            return f"was compiled for {self.processor} ({able}); this is {processor(device)}"
        return None


def library_version() -> str:
    return str(require("openvino", "reading a compiled model").__version__)


def blob_of(bundle: Bundle, device: str) -> tuple[Path, Sidecar] | None:
    """The bundle's blob for this machine's `device`; None where it has none for such a device.

    Raises `EngineError` where it has some, but none of this bundle, whole and of this machine.
    """
    refusals: list[str] = []
    for path in engine_files(bundle):
        if path.suffix != BLOB:
            continue
        sidecar = read_sidecar(path)
        if sidecar.device != device:
            continue
        refusal = (
            "was compiled from another bundle"
            if sidecar.manifest != bundle.manifest.sha256
            else sidecar.foreign(device)
        )
        if refusal is None:
            refusal = changed_bytes(path, size=sidecar.plan_bytes, sha256=sidecar.plan_sha256)
            if refusal is None:
                return path, sidecar
            raise EngineError(refusal, hint=_hint(bundle))
        refusals.append(f"{path} {refusal}")
    if refusals:
        raise EngineError(refusals[0], hint=_hint(bundle))
    return None


def _hint(bundle: Bundle) -> str:
    return f"Compile it here: artoolkit build {bundle.path}, or remove {bundle.engines}"


def read_sidecar(blob: Path) -> Sidecar:
    """The record beside `blob`; `EngineError` where it is missing, changed or not valid."""
    path = sidecar_path(blob)
    if not path.is_file():
        raise EngineError(f"{blob} has no sidecar {path.name}, so nobody knows what it is of")
    try:
        return Sidecar.model_validate(read_sealed(path))
    except BundleError as error:
        raise EngineError(str(error)) from error
    except ValidationError as error:
        raise EngineError(f"sidecar {path} is not valid: {problems(error)}") from error


def build_blob(
    bundle: Bundle, device: str, progress: Progress | None = None
) -> tuple[Path, Sidecar]:
    """Compile the bundle for this machine's `device` into `engines/`; replaces the same one.

    In a fresh process: OpenVINO counts names up over a process and writes them into the blob, which
    is else the same, byte for byte. Raises `EngineError`, `BackendError`, `StorageError`.
    """
    target, version = bundle.manifest.target, library_version()
    kind = re.sub("[^a-z0-9]+", "-", processor(device).lower()).strip("-")
    name = f"openvino-{version.partition('-')[0]}-{device.replace(':', '-')}-{kind}{BLOB}"
    blob = bundle.engines / name
    partial = blob.with_name(f".{name}.partial")
    how = {
        "device": device,
        "precision": target.precision,
        "float_precision": target.float_precision,
    }
    started = time.perf_counter()
    try:
        blob.parent.mkdir(exist_ok=True)
        call_fresh(
            f"{__name__}:compile_requested",
            {"model": str(bundle.model), "blob": str(partial), **how},
            what="that compiled the model",
            progress=progress,
            crash=EngineError,
        )
        values = how | {
            "schema_version": "1",
            "artoolkit": __version__,
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "library": "openvino",
            "library_version": version,
            "processor": processor(device),
            "capabilities": list(capabilities(device)),
            "onnx_sha256": file_sha256(bundle.model),
            "plan_sha256": file_sha256(partial),
            "plan_bytes": partial.stat().st_size,
            "seconds": round(time.perf_counter() - started, 3),
            "manifest": bundle.manifest.sha256,
        }
        sidecar = Sidecar.model_validate(seal(values))
        partial.replace(blob)
        write_sealed(sidecar_path(blob), values)
    except OSError as error:
        raise StorageError(f"cannot write {blob}: {error.strerror}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
    return blob, sidecar


def compile_requested(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """The other end of `build_blob`."""
    progress(f"compiling for {openvino_device(request['device'])}", 0.0)
    path, model = Path(request.pop("blob")), Path(request.pop("model"))
    found = compiled(model, **request)
    with failing(f"OpenVINO writes no compiled model for {request['device']}"):
        exported = found.model.export_model()
    path.write_bytes(exported.getvalue() if hasattr(exported, "getvalue") else exported)
    return {}
