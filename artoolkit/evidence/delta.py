"""A delta: what makes bundle B of bundle A, where only the trained weights differ.

    delta = {"record": a sealed description, "FILE/TENSOR": one changed tensor of an ONNX file,
             "FILE": the bytes of another file behind those that A has too}

It is one .npz file, chained to both manifests. The bundle that it makes is B byte by byte, golden
labels, verdicts and signature included, so that whatever held for B holds for it; engines stay
where they were built. Needs numpy alone: ONNX files are read as protobuf (`artoolkit.wire`).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import field_validator

from artoolkit import __version__
from artoolkit.errors import BundleError
from artoolkit.evidence.bundle import (
    BASELINE,
    ENGINES,
    MODEL,
    SIGNATURE,
    Bundle,
    open_bundle,
    require_free,
)
from artoolkit.evidence.contents import file_problems
from artoolkit.evidence.engines import engine_files
from artoolkit.evidence.folders import new_folder
from artoolkit.evidence.parts import MOST_MODEL
from artoolkit.evidence.seal import canonical, file_sha256, seal, write_atomically
from artoolkit.evidence.signature import bundle_files
from artoolkit.files import parse_json, read_bytes, read_npz, reading
from artoolkit.spec import Frozen
from artoolkit.wire import fields, messages

RECORD = "record"
# No tensor of a network is called so: the bytes before and behind the graph in its file.
_HEAD, _TAIL = ".head", ".tail"
# ModelProto.graph; GraphProto.initializer; TensorProto.dims, data_type, name and raw_data.
_GRAPH, _INITIALIZER, _DIMS, _TYPE, _NAME, _RAW = 7, 5, 1, 2, 8, 9
# TensorProto.DataType -> numpy's; tensors of other types travel as bytes.
_DTYPES = {1: "<f4", 2: "|u1", 3: "|i1", 6: "<i4", 7: "<i8", 10: "<f2", 11: "<f8"}
Arrays = Mapping[str, NDArray[Any]]


class MadeFile(Frozen):
    """A file of B: the hash of it, the file of A that it is made from, and how.

    With `tensors` it is that ONNX file with these weights in place of its own, between the bytes
    `FILE/.head` and `FILE/.tail` (its metadata); else the first `keep` bytes of it, then `FILE`.
    """

    sha256: str
    source: str | None = None
    keep: int = 0
    tensors: tuple[str, ...] | None = None


class DeltaRecord(Frozen):
    """Description of a delta: `held` and `made` are the sha256 of the manifests of A and B."""

    schema_version: Literal["1"]
    artoolkit: str
    network: str
    held: str
    made: str
    files: dict[str, MadeFile]
    sha256: str

    @field_validator("files")
    @classmethod
    def _inside(cls, files: dict[str, MadeFile]) -> dict[str, MadeFile]:
        for name, made in files.items():
            inside = all(part not in ("", ".", "..") for part in name.split("/"))
            if not inside or "\\" in name or made.source not in (None, *_sources(name)):
                raise ValueError(f"{name!r} lies outside of a bundle")
        return files


@dataclass(frozen=True)
class Delta:
    """A delta that was read, and its arrays by name."""

    record: DeltaRecord
    arrays: Arrays

    @property
    def trained(self) -> int:
        """Number of trained tensors in it, the baseline's included."""
        return sum(len(made.tensors or ()) for made in self.record.files.values())


class _Graph:
    """An ONNX file cut up: the program, with zeros for its trained tensors, and their values."""

    def __init__(self, content: bytes, trained: tuple[str, ...]) -> None:
        (graph,) = messages(memoryview(content), _GRAPH)
        self.head, _, self.tail = content.partition(graph)
        self._graph = bytearray(graph)
        self._places: dict[str, memoryview] = {}
        self.values: dict[str, NDArray[Any]] = {}
        for tensor in messages(memoryview(self._graph), _INITIALIZER):
            name = b"".join(messages(tensor, _NAME)).decode()
            for place in messages(tensor, _RAW) if name in trained else ():
                self.values[name], self._places[name] = _array(tensor, place), place
                place[:] = bytes(len(place))
        self.program = hashlib.sha256(self._graph).hexdigest()

    def filled(self, values: Arrays, *, head: bytes, tail: bytes) -> bytes:
        """The file with these values; `ValueError` where one has no place or another size."""
        for name, array in {**self.values, **values}.items():
            self._places[name][:] = array.tobytes()
        return head + self._graph + tail


def _array(tensor: memoryview, raw: memoryview) -> NDArray[Any]:
    """The values of a tensor; bytes where numpy lacks its type."""
    known = {field: value for field, value in fields(tensor) if field == _TYPE}
    kind = _DTYPES.get(known[_TYPE])  # type: ignore[arg-type]  # a number in a whole file
    array = np.frombuffer(bytes(raw), kind or np.uint8)
    dims = [value for field, value in fields(tensor) if field == _DIMS]
    return array.reshape(dims) if kind else array  # type: ignore[arg-type]  # numbers


def write_delta(held: Path, made: Path, out: Path) -> Delta:
    """Write what makes the bundle at `made` of the one at `held` to the file `out`.

    Raises `BundleError` where one of the two is not whole, where their programs differ, or where
    `made` was signed with engines inside, which a delta leaves out; `StorageError`.
    """
    for path in (held, made):
        if found := file_problems(path):
            raise BundleError("; ".join(found), hint="Export or copy the bundle again.")
    before, after = open_bundle(held), open_bundle(made)
    if engine_files(after) and (after.path / SIGNATURE).is_file():
        raise BundleError(
            f"{made} is signed and has engines, which a delta leaves out",
            hint="Sign it before its engines are built.",
        )
    arrays: dict[str, NDArray[Any]] = {}
    files = {name: _encode(name, before, after, arrays) for name in _travelling(made)}
    values = {
        "schema_version": "1",
        "artoolkit": __version__,
        "network": after.manifest.network,
        "held": before.manifest.sha256,
        "made": after.manifest.sha256,
        "files": {name: file.model_dump() for name, file in files.items()},
    }
    sealed = seal(values)
    arrays[RECORD] = _bytes(canonical(sealed))
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)  # type: ignore[arg-type]  # numpy takes any name
    write_atomically(out, packed.getvalue())
    return Delta(DeltaRecord.model_validate(sealed), arrays)


def _travelling(path: Path) -> list[str]:
    """The paths of a bundle's files, engines aside."""
    names = [*bundle_files(path), *([SIGNATURE] if (path / SIGNATURE).is_file() else [])]
    return [name for name in names if name.partition("/")[0] != ENGINES]


def _sources(name: str) -> tuple[str, ...]:
    """The files of A that a file of B may be made from: its baseline may be A itself."""
    return (name, name.removeprefix(f"{BASELINE}/"))


def _encode(name: str, held: Bundle, made: Bundle, arrays: dict[str, NDArray[Any]]) -> MadeFile:
    """How to make a file of `made`; adds what `held` lacks to `arrays`."""
    content = (made.path / name).read_bytes()
    sources = [s for s in dict.fromkeys(_sources(name)) if (held.path / s).is_file()]
    sha256 = hashlib.sha256(content).hexdigest()
    if Path(name).name == MODEL:
        wanted = _Graph(content, made.manifest.trained)
        for source in sorted(sources, key=lambda one: file_sha256(held.path / one) != sha256):
            known = _Graph((held.path / source).read_bytes(), held.manifest.trained)
            if known.program == wanted.program:
                tensors = [
                    key for key, value in wanted.values.items()
                    if value.tobytes() != known.values[key].tobytes()
                ]  # fmt: skip
                arrays |= {f"{name}/{key}": wanted.values[key] for key in tensors}
                arrays |= {f"{name}/{_HEAD}": _bytes(wanted.head)}
                arrays |= {f"{name}/{_TAIL}": _bytes(wanted.tail)}
                return MadeFile(sha256=sha256, source=source, tensors=tuple(tensors))
        if name == MODEL:
            raise BundleError(
                f"{made.path} is another program than {held.path}, so no delta makes one of it",
                hint=f"See: artoolkit compare {held.path / MODEL} {made.path / MODEL}",
            )
    kept = [(_common((held.path / one).read_bytes(), content), one) for one in sources]
    keep, best = max(kept, default=(0, None))
    arrays[name] = _bytes(content[keep:])
    return MadeFile(sha256=sha256, source=best, keep=keep)


def _common(a: bytes, b: bytes) -> int:
    """Number of bytes at the start that are the same."""
    shorter = min(len(a), len(b))
    pair = (np.frombuffer(one, np.uint8, shorter) for one in (a, b))
    different = np.flatnonzero(np.not_equal(*pair))
    return int(different[0]) if different.size else shorter


def _bytes(content: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(content, np.uint8)


def read_delta(path: Path) -> Delta:
    """The delta in a file; `BundleError` where it is damaged or none."""
    hint = "Copy the file again, or make it again: artoolkit delta A B --out FILE"
    arrays = read_npz(path, BundleError)
    with reading(path, BundleError, what="delta", hint=hint):
        content = arrays[RECORD].tobytes()
        values = parse_json(content)
        if content != canonical(seal(values)):
            raise ValueError("its record was changed")
        return Delta(DeltaRecord.model_validate(values), arrays)


def refit_bundle(held: Path, delta: Path, out: Path, *, overwrite: bool = False) -> Bundle:
    """Make the other bundle of the one at `held` at `out`, in one step, and open it.

    Every file has the bytes that it had where the delta was made. Raises `BundleError` where the
    delta belongs to another bundle or is damaged, and where `held` is not whole, `UsageError` where
    `out` is taken, and `StorageError` where it cannot be written.
    """
    require_free(out, overwrite=overwrite)
    bundle, read = open_bundle(held), read_delta(delta)
    record = read.record
    if bundle.manifest.sha256 != record.held:
        raise BundleError(
            f"{delta} belongs to another bundle than {held}",
            got=f"manifest {bundle.manifest.sha256[:16]}",
            expected=record.held[:16],
        )
    with new_folder(out) as folder:
        for name, made in record.files.items():
            with reading(delta, BundleError, what="delta"):
                content = _decode(name, made, bundle, read.arrays)
            if hashlib.sha256(content).hexdigest() != made.sha256:
                raise BundleError(f"{delta} is damaged: it does not make {name}")
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        if found := file_problems(folder):
            raise BundleError(f"{delta} makes no whole bundle: {found[0]}")
        if open_bundle(folder, check_hashes=False).manifest.sha256 != record.made:
            raise BundleError(f"{delta} makes another bundle than it says")
    return open_bundle(out, check_hashes=False)


def _decode(name: str, made: MadeFile, held: Bundle, arrays: Arrays) -> bytes:
    """The content of a file of B; any error where the arrays do not fit."""
    known = b"" if made.source is None else read_bytes(
        held.path / made.source, BundleError, most=MOST_MODEL
    )  # fmt: skip
    if made.tensors is None:
        return known[: made.keep] + arrays[name].tobytes()
    head, tail = (arrays[f"{name}/{end}"].tobytes() for end in (_HEAD, _TAIL))
    values = {key: arrays[f"{name}/{key}"] for key in made.tensors}
    return _Graph(known, held.manifest.trained).filled(values, head=head, tail=tail)
