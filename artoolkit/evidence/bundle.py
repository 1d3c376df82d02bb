"""The bundle: the folder that is handed to a device, and the hashes that hold it together.

    model.onnx  golden.npz  manifest.json     written once by `write_bundle`, never changed
    baseline/                                 a full bundle of the baseline, chained by its hash
    evidence/<time>-<machine>/                a verdict and its measurements, never overwritten
    engines/                                  compiled on a device, chained to the manifest
    signature.json                            added by `artoolkit sign`, covers all of the above

Read `artoolkit.evidence.seal` first; `contents.py` checks every path. Nothing here needs torch or
onnx.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, field_validator

from artoolkit import __version__
from artoolkit.errors import BundleError, UsageError
from artoolkit.evidence.folders import new_folder
from artoolkit.evidence.parts import changed_parts, parts_of
from artoolkit.evidence.seal import file_sha256, read_sealed, write_sealed
from artoolkit.files import read_npz
from artoolkit.labels import LabelTable
from artoolkit.preprocess import Preprocess
from artoolkit.spec import Frozen, Target, problems

MODEL, GOLDEN, MANIFEST, BASELINE = "model.onnx", "golden.npz", "manifest.json", "baseline"
EVIDENCE, ENGINES, INDEX = "evidence", "engines", "index.json"
SIGNATURE = "signature.json"
# What a killed run leaves in evidence/: it is part of nothing, and the next run removes it.
UNFINISHED = ".unfinished"
# The date of a proof in the name of its folder, so that names sort by date.
STAMP, STAMP_DIGITS = "%Y%m%dT%H%M%SZ", 16
SCHEMA_VERSION: Literal["1"] = "1"


class Manifest(Frozen):
    """Description of a bundle, with the sha256 of every file in it and of itself.

    `trained` names the ONNX initialisers that are trained parameters; `parts` holds short hashes
    of tensors and images, to name the one that was changed; `baseline` is the sha256 of the
    manifest in `baseline/`.
    """

    schema_version: Literal["1"]
    artoolkit: str
    created: str
    network: str
    num_classes: int
    labels: LabelTable
    preprocess: Preprocess
    target: Target
    trained: tuple[str, ...]
    provenance: dict[str, Any]
    files: dict[str, str]
    parts: dict[str, dict[str, str]] = Field(default_factory=dict)
    baseline: str | None
    sha256: str

    @field_validator("files")
    @classmethod
    def _two_files(cls, files: dict[str, str]) -> dict[str, str]:
        """No name of a file leads anywhere, and all weights are in the one ONNX file."""
        if files.keys() != {MODEL, GOLDEN}:
            raise ValueError(f"a bundle has the files {MODEL} and {GOLDEN}")
        return files


@dataclass(frozen=True)
class Bundle:
    """An opened bundle; `open_bundle` checks it first."""

    path: Path
    manifest: Manifest

    @property
    def model(self) -> Path:
        return self.path / MODEL

    @property
    def evidence(self) -> Path:
        return self.path / EVIDENCE

    @property
    def engines(self) -> Path:
        return self.path / ENGINES

    @cached_property
    def baseline(self) -> Bundle | None:
        return open_bundle(self.path / BASELINE) if self.manifest.baseline else None

    def golden(self) -> dict[str, NDArray[np.uint8]]:
        """`images` uint8 N x H x W x 3 as the graph takes them, `labels` uint8 N x H x W."""
        arrays = read_npz(self.path / GOLDEN, BundleError)
        if missing := {"images", "labels"} - arrays.keys():
            raise BundleError(f"{self.path / GOLDEN} has no {' and no '.join(sorted(missing))}")
        return {key: arrays[key] for key in ("images", "labels")}

    @property
    def proofs(self) -> tuple[Path, ...]:
        """The folders of verdicts in evidence/, the newest first.

        A bundle of an earlier artoolkit has one verdict, in evidence/ itself.
        """
        if (self.evidence / INDEX).is_file():
            return (self.evidence,)
        found = [p for p in self.evidence.glob("*") if p.is_dir() and p.name != UNFINISHED]
        return tuple(sorted(found, key=lambda path: path.name, reverse=True))

    def check_proofs(self) -> None:
        """Raises `BundleError` where evidence/ holds the verdict of an earlier artoolkit."""
        if (self.evidence / INDEX).is_file():
            raise BundleError(
                f"{self.evidence} holds the verdict of an earlier artoolkit",
                hint="Move the folder away, and compare again.",
            )

    def add_proof(self, files: Mapping[str, bytes], machine: str) -> Path:
        """Write `files` to a new folder evidence/<time>-<machine>, in one step, and return it.

        Its index holds their hashes, chained to the manifest. What was proved before stays.
        Raises `StorageError` where it cannot be written, and what `check_proofs` does.
        """
        self.check_proofs()
        stamp = datetime.now(timezone.utc).strftime(STAMP)
        folder = self.evidence / f"{stamp}-{machine}"
        if folder.exists():  # two within a second
            places = (folder.with_name(f"{folder.name}.{number}") for number in count(2))
            folder = next(place for place in places if not place.exists())
        with new_folder(folder, partial=self.evidence / UNFINISHED) as made:
            for name, content in files.items():
                (made / name).write_bytes(content)
            hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
            write_sealed(made / INDEX, {"manifest": self.manifest.sha256, "files": hashes})
        return folder


def read_manifest(path: Path) -> Manifest:
    if not (path / MANIFEST).is_file():
        hint = "Make one with: artoolkit export CKPT --out BUNDLE"
        if (path.parent / MANIFEST).is_file():
            hint = f"It lies in one: give {path.parent}"
        elif path.suffix == ".onnx":
            hint = f"A file alone: artoolkit compare A.onnx B.onnx, artoolkit benchmark {path.name}"
        raise BundleError(f"{path} is not a bundle: {MANIFEST} is missing", hint=hint)
    values = read_sealed(path / MANIFEST)
    version = values.get("schema_version")
    if version != SCHEMA_VERSION:
        raise BundleError(
            f"{path / MANIFEST} has another schema version",
            got=version,
            expected=SCHEMA_VERSION,
            hint="Export the bundle again with this artoolkit.",
        )
    try:
        return Manifest.model_validate(values)
    except ValidationError as error:
        raise BundleError(f"{path / MANIFEST} is not valid: {problems(error)}") from error


def changed_files(
    folder: Path, files: Mapping[str, str], parts: Mapping[str, Mapping[str, str]] | None = None
) -> Iterator[str]:
    """Every one of `files` (name -> sha256) in `folder` that is missing or changed, in words."""
    for name, expected in files.items():
        path = folder / name
        if not os.path.isfile(path):  # noqa: PTH113 (Path.is_file raises on a long name)
            yield f"{path} is missing"
        elif file_sha256(path) != expected:
            where = changed_parts(path, (parts or {}).get(name, {}))
            yield f"{path} was changed: its sha256 is not the one in the manifest" + (
                f" (in {where})" if where else ""
            )


def open_bundle(path: Path, *, check_hashes: bool = True) -> Bundle:
    """The bundle at `path`; raises `BundleError` naming the files that are missing or changed."""
    manifest = read_manifest(path)
    if check_hashes and (found := list(changed_files(path, manifest.files, manifest.parts))):
        raise BundleError("; ".join(found), hint="Export or copy the bundle again.")
    return Bundle(path, manifest)


def _copy_sealed(bundle: Bundle, folder: Path) -> None:
    """Only what the manifest covers: evidence and engines of the original stay with it."""
    folder.mkdir()
    for name in (*bundle.manifest.files, MANIFEST):
        shutil.copyfile(bundle.path / name, folder / name)


def _built_at() -> datetime:
    """Now, or the time in SOURCE_DATE_EPOCH (reproducible-builds.org), so that bytes are equal."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        return (
            datetime.fromtimestamp(int(epoch), timezone.utc)
            if epoch
            else datetime.now(timezone.utc)
        )
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(
            "SOURCE_DATE_EPOCH is no time", got=epoch, expected="seconds since 1970"
        ) from error


def require_free(
    out: Path, *, overwrite: bool, mark: str = MANIFEST, what: str = "a bundle"
) -> None:
    """Raises `UsageError` where `out` holds something, but `what` that `overwrite` replaces.

    `mark`: the file that such a folder has.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / mark).is_file():
        raise UsageError(f"{out} exists and is not {what}", hint="Choose another --out.")
    if not overwrite:
        raise UsageError(f"{out} is already there", hint="Add --overwrite, or use another --out.")


def write_bundle(
    out: Path,
    *,
    model: Path,
    golden_images: NDArray[np.uint8],
    golden_labels: NDArray[np.uint8],
    network: str,
    labels: LabelTable,
    preprocess: Preprocess,
    target: Target,
    trained: tuple[str, ...],
    provenance: Mapping[str, Any],
    baseline: Path | None = None,
    overwrite: bool = False,
) -> Bundle:
    """Write a new bundle at `out` in one step, and open it.

    `model` (one ONNX file) and `baseline` (a bundle) are copied. `golden_images`: uint8
    N x H x W x 3 at the target's size, `golden_labels`: uint8 N x H x W, what the trained network
    says of them. Raises `UsageError` if `out` is taken, `StorageError` if it cannot be written.
    """
    inner = None if baseline is None else open_bundle(baseline)
    require_free(out, overwrite=overwrite)
    with new_folder(out) as folder:
        shutil.copyfile(model, folder / MODEL)
        np.savez_compressed(folder / GOLDEN, images=golden_images, labels=golden_labels)
        if inner is not None:
            _copy_sealed(inner, folder / BASELINE)
        write_sealed(
            folder / MANIFEST,
            {
                "schema_version": SCHEMA_VERSION,
                "artoolkit": __version__,
                "created": _built_at().isoformat(timespec="seconds"),
                "network": network,
                "num_classes": labels.num_classes,
                "labels": labels.model_dump(mode="json"),
                "preprocess": preprocess.model_dump(mode="json"),
                "target": target.model_dump(mode="json"),
                "trained": list(trained),
                "provenance": dict(provenance),
                "files": {name: file_sha256(folder / name) for name in (MODEL, GOLDEN)},
                "parts": {name: parts_of(folder / name) for name in (MODEL, GOLDEN)},
                "baseline": inner.manifest.sha256 if inner else None,
            },
        )
    return open_bundle(out)
