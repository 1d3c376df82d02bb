"""The sidecar of a plan: what built it, for what, from which bundle, and the hash of its bytes.

Deserialising a plan runs native code and a foreign plan fails with words such as "magic tag", so
`check_plan` refuses first, in one line that ends with the command that builds the right one. The
plan itself carries no prefix: trtexec, Triton and C++ loaders read it as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from artoolkit.backends.tensorrt.library import version_tuple
from artoolkit.backends.tensorrt.options import PORTABLE, BuildOptions
from artoolkit.errors import BundleError, EngineError
from artoolkit.evidence.bundle import Bundle
from artoolkit.evidence.engines import changed_bytes, engine_files, sidecar_path
from artoolkit.evidence.seal import read_sealed
from artoolkit.spec import Frozen, problems
from artoolkit.words import LibraryName

SCHEMA_VERSION: Literal["1"] = "1"
PLAN, REFITTABLE = ".plan", "-refittable"
_AMPERE = 80
_REBUILD = "Rebuild it here: artoolkit build BUNDLE"


class Sidecar(Frozen):
    """A sealed record beside `<name>.plan`, called `<name>.json`.

    `compute_capabilities`: what the plan runs on, as in SM86, or "portable". `flags`: builder
    flags in effect, while `options` are those asked for. Bytes are None where the build log did
    not tell. `onnx_sha256`: of the plain graph, from which `forms` were derived for this engine.
    `manifest`: sha256 of the bundle's manifest. `trtexec`: the same build in a shell, from the
    file that `artoolkit build --onnx` writes where there are forms. `refitted_from`: sha256 of the
    plan whose weights were replaced (None: this one was built); what is said of the build is its.
    `log`: the last lines that the builder said.
    """

    schema_version: Literal["1"]
    artoolkit: str
    created: str
    library: LibraryName
    library_version: str
    machine: str
    compute_capabilities: tuple[str, ...]
    gpu: str | None
    driver: str | None
    target: str
    options: BuildOptions
    flags: tuple[str, ...]
    onnx_sha256: str
    forms: tuple[str, ...] = ()
    plan_sha256: str
    plan_bytes: int
    activation_bytes: int | None
    weights_bytes: int | None
    seconds: float
    trtexec: str
    log: tuple[str, ...] = ()
    metadata: dict[str, Any]
    manifest: str | None
    refitted_from: str | None = None
    sha256: str


@dataclass(frozen=True)
class Machine:
    """Machine on which an engine is about to be loaded."""

    library: LibraryName
    library_version: str
    machine: str
    compute_capability: str
    gpu: str


def rebuild_hint(library: LibraryName, bundle: Path | None) -> str:
    """The command that builds the right plan."""
    return f"Rebuild it here: artoolkit build {bundle or 'BUNDLE'} --library {library}"


def read_sidecar(plan: Path) -> Sidecar:
    """The record beside `plan`; `EngineError` where it is missing, changed or not valid."""
    path = sidecar_path(plan)
    if not path.is_file():
        raise EngineError(
            f"{plan} has no sidecar {path.name}, so nobody knows what it was built for",
            hint=_REBUILD,
        )
    try:
        return Sidecar.model_validate(read_sealed(path))
    except BundleError as error:
        raise EngineError(str(error), hint=_REBUILD) from error
    except ValidationError as error:
        raise EngineError(
            f"sidecar {path} is not valid: {problems(error)}", hint=_REBUILD
        ) from error


def _foreign(sidecar: Sidecar, machine: Machine) -> str | None:
    """Reason why this machine cannot load the engine, or None."""
    if sidecar.library != machine.library:
        return f"was built by {sidecar.library}, not {machine.library}"
    if not _version_fits(sidecar, machine.library_version):
        have, want = machine.library_version, sidecar.library_version
        return f"was built by {sidecar.library} {want}; this machine has {have}"
    if sidecar.library == "tensorrt" and sidecar.machine != machine.machine:
        return f"was built on {sidecar.machine}; this machine is {machine.machine}"
    return _other_gpu(sidecar, machine)


def _version_fits(sidecar: Sidecar, version: str) -> bool:
    if not sidecar.options.version_compatible:
        return sidecar.library_version == version
    built, here = version_tuple(sidecar.library_version), version_tuple(version)
    return built[:1] == here[:1] and built <= here


def _other_gpu(sidecar: Sidecar, machine: Machine) -> str | None:
    here = machine.compute_capability
    built = ", ".join(f"SM{c}" for c in sidecar.compute_capabilities)
    text = f"was built for {sidecar.gpu or built}; this machine has {machine.gpu} (SM{here})"
    level = sidecar.options.hardware_compatibility
    if sidecar.compute_capabilities == (PORTABLE,):
        return None  # the library knows better: its get_engine_validity is asked before loading
    if level == "ampere+":
        return None if int(here) >= _AMPERE else text
    same_gpu = sidecar.gpu in (None, machine.gpu) or level == "same-compute-capability"
    return None if here in sidecar.compute_capabilities and same_gpu else text


def check_plan(
    plan: Path, machine: Machine, *, manifest: str | None, bundle: Path | None = None
) -> Sidecar:
    """The plan's sidecar where everything fits; raises `EngineError` before a byte is loaded.

    `manifest` is the sha256 of the bundle that the plan must belong to, None for a lone plan.
    """
    sidecar = read_sidecar(plan)
    hint = rebuild_hint(machine.library, bundle)
    if manifest is not None and sidecar.manifest != manifest:
        raise EngineError(f"{plan} was built from another bundle", hint=hint)
    if foreign := _foreign(sidecar, machine):
        raise EngineError(f"{plan} {foreign}", hint=hint)
    if broken := changed_bytes(plan, size=sidecar.plan_bytes, sha256=sidecar.plan_sha256):
        raise EngineError(broken, hint=hint)
    return sidecar


def plans(bundle: Bundle) -> tuple[Path, ...]:
    """The TensorRT engines in the bundle's engines/, sorted by name, refittable ones last.

    They may be slower, so that they run only where they are asked for or alone.
    """
    found = (path for path in engine_files(bundle) if path.suffix == PLAN)
    return tuple(sorted(found, key=lambda path: (path.stem.endswith(REFITTABLE), path.name)))
