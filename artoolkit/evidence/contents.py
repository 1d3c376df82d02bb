"""Every path below a bundle: listed with the hash that it has, or an error. Needs only numpy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from artoolkit.errors import BundleError
from artoolkit.evidence.bundle import (
    BASELINE,
    ENGINES,
    EVIDENCE,
    INDEX,
    MANIFEST,
    SIGNATURE,
    UNFINISHED,
    Bundle,
    changed_files,
    read_manifest,
)
from artoolkit.evidence.engines import HIDDEN, engine_problems
from artoolkit.evidence.parts import external_data
from artoolkit.evidence.seal import read_sealed

# What `write_atomically` was writing when the process was killed.
_UNFINISHED_SIGNATURE = f".{SIGNATURE}.partial"


def file_problems(path: Path) -> list[str]:
    """Every path of the bundle, its baseline included, that is missing, changed or unlisted.

    Links and what is no file are refused, and so are weights outside of the ONNX file. Engines are
    held to their sidecars; whether one fits a machine is asked when it is loaded.
    """
    try:
        bundle = Bundle(path, read_manifest(path))
    except BundleError as error:
        return [str(error)]
    found = list(_unlisted(bundle))
    found += changed_files(path, bundle.manifest.files, bundle.manifest.parts)
    found += [
        f"{bundle.model} keeps the weights {name} outside of itself"
        for name in external_data(bundle.model)
    ]
    for folder in bundle.proofs:
        found += _proof_problems(bundle, folder)
    found += engine_problems(bundle)
    if bundle.manifest.baseline:
        found += file_problems(path / BASELINE) or _chain_problem(bundle)
    return found


def is_unfinished(name: str) -> bool:
    """True if a killed run left the path (in the bundle): no verdict or signature rests on it."""
    return name == _UNFINISHED_SIGNATURE or name.startswith(
        (f"{EVIDENCE}/{UNFINISHED}", f"{ENGINES}/{HIDDEN}")
    )


def _unlisted(bundle: Bundle) -> Iterator[str]:
    """Paths that nobody lists, and links, pipes and names alike among those that somebody does."""
    folded: dict[str, str] = {}
    for path in sorted(bundle.path.rglob("*")):
        name = path.relative_to(bundle.path).as_posix()
        if (alike := folded.setdefault(name.casefold(), name)) != name:
            yield f"{path} differs from {alike} only in case: some disks keep one of them"
        if is_unfinished(name) or (bundle.manifest.baseline and name.startswith(f"{BASELINE}/")):
            continue
        if path.is_symlink():
            yield f"{path} is a link: a bundle holds its files itself"
        elif not _is_known(bundle, name, folder=path.is_dir()):
            yield f"{path} is not listed"
        elif not (path.is_dir() or path.is_file()):
            yield f"{path} is no file"


def _is_known(bundle: Bundle, name: str, *, folder: bool) -> bool:
    """True if the path has a place in a bundle; `proofs` and engines list their own files."""
    place, _, inner = name.partition("/")
    if folder:
        allowed = {EVIDENCE, ENGINES} | ({BASELINE} if bundle.manifest.baseline else set())
        return name in allowed or (place == EVIDENCE and "/" not in inner)
    if not inner:
        return name in {*bundle.manifest.files, MANIFEST, SIGNATURE}
    proofs = {folder.relative_to(bundle.path).as_posix() for folder in bundle.proofs}
    return (place == ENGINES and "/" not in inner) or name.rpartition("/")[0] in proofs


def _proof_problems(bundle: Bundle, folder: Path) -> Iterator[str]:
    """Files that are missing, changed or too much in the folder of a verdict."""
    try:
        index = read_sealed(folder / INDEX)
        files = {str(name): str(sha256) for name, sha256 in dict(index["files"]).items()}
    except BundleError as error:
        yield str(error)
        return
    except (KeyError, TypeError, ValueError):
        yield f"{folder / INDEX} lists no files"
        return
    if index.get("manifest") != bundle.manifest.sha256:
        yield f"{folder / INDEX} belongs to another bundle: it is not chained to this manifest"
    odd = [name for name in files if Path(name).name != name]
    yield from (f"{folder / INDEX} lists {name!r}, which lies elsewhere" for name in odd)
    yield from changed_files(folder, {n: h for n, h in files.items() if n not in odd})
    present = {path.name for path in folder.iterdir()} - {INDEX}
    yield from (f"{folder / name} is not listed" for name in sorted(present - files.keys()))


def _chain_problem(bundle: Bundle) -> list[str]:
    inner = read_manifest(bundle.path / BASELINE)
    if inner.sha256 == bundle.manifest.baseline:
        return []
    return [f"{bundle.path / BASELINE} is not the baseline that this bundle was made with"]
