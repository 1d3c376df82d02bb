"""The engines of a bundle: compiled on a device, each with a sidecar chained to the manifest.

What a library needs to know before it loads its own engine is in that backend's folder; here is
what holds for all of them, and can be checked without the library.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from artoolkit.errors import BundleError
from artoolkit.evidence.bundle import Bundle
from artoolkit.evidence.seal import file_sha256, read_sealed
from artoolkit.spec import problems

SIDECAR = ".json"
# How names begin while an engine is built: a killed build leaves such files, and the next of the
# same name removes them.
HIDDEN = "."


class EngineRecord(BaseModel):
    """Facts that every sidecar states of its engine.

    `library`: the backend that built and loads it. `manifest`: sha256 of the manifest of the bundle
    that it was built from.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    library: str
    plan_sha256: str
    plan_bytes: int
    manifest: str | None


def sidecar_path(engine: Path) -> Path:
    return engine.with_suffix(SIDECAR)


def engine_files(bundle: Bundle) -> tuple[Path, ...]:
    """Every finished file in the bundle's engines/ that is not a sidecar, sorted by name."""
    found = (p for p in bundle.engines.glob("*") if not p.name.startswith(HIDDEN))
    return tuple(sorted(p for p in found if p.suffix != SIDECAR))


def changed_bytes(engine: Path, *, size: int, sha256: str) -> str | None:
    """Problem with the engine's bytes, or None."""
    if not engine.is_file():
        return f"{engine} is missing"
    if (found := engine.stat().st_size) != size:
        return f"{engine} was cut or replaced: it has {found} bytes, its sidecar says {size}"
    if file_sha256(engine) != sha256:
        return f"{engine} was changed: its sha256 is not the one in its sidecar"
    return None


def engine_problems(bundle: Bundle) -> list[str]:
    """Every engine that is cut, changed, without a sidecar or of another bundle, and lone sidecars.

    Engines of other machines are no problem here: a bundle may carry several.
    """
    engines = engine_files(bundle)
    found = [problem for engine in engines if (problem := engine_problem(bundle, engine))]
    expected = {sidecar_path(engine) for engine in engines}
    alone = sorted(set(bundle.engines.glob(f"*{SIDECAR}")) - expected)
    return found + [f"{path} belongs to no engine" for path in alone]


def engine_record(engine: Path) -> EngineRecord:
    """The sidecar of any engine; `BundleError` where it is missing, changed or not valid."""
    path = sidecar_path(engine)
    if not path.is_file():
        raise BundleError(
            f"{engine} has no sidecar {path.name}, so nobody knows what it was built for"
        )
    try:
        return EngineRecord.model_validate(read_sealed(path))
    except ValidationError as error:
        raise BundleError(f"sidecar {path} is not valid: {problems(error)}") from error


def engine_problem(bundle: Bundle, engine: Path) -> str | None:
    """Reason why this is no whole engine of the bundle, or None."""
    try:
        record = engine_record(engine)
    except BundleError as error:
        return str(error)
    if record.manifest != bundle.manifest.sha256:
        return f"{engine} was built from another bundle"
    return changed_bytes(engine, size=record.plan_bytes, sha256=record.plan_sha256)
