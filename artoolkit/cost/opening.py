"""Opening of a model to measure: a bundle or any bare file, its backend and its inputs.

A file that artoolkit did not make may take several inputs of any type; it is fed a mapping from
input names to arrays, made from a seed where the user gives none.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artoolkit.backends.backend import Model
from artoolkit.errors import DataError
from artoolkit.evidence.bundle import Bundle, open_bundle
from artoolkit.evidence.seal import file_sha256
from artoolkit.evidence.verdict import Subject
from artoolkit.files import MOST_ARRAY_BYTES, read_npz
from artoolkit.graph.onnx_file import onnx_sha256
from artoolkit.preprocess import as_taken
from artoolkit.spec import RunnerSpec


def seeded_feeds(spec: RunnerSpec, random: np.random.Generator) -> dict[str, NDArray[Any]]:
    """Inputs of the declared shapes: integers over 0-255 or the type's range, normal floats.

    `DataError` for one of more bytes than an .npz file of them might have.
    """
    feeds: dict[str, NDArray[Any]] = {}
    for tensor in spec.inputs:
        dtype = np.dtype(tensor.dtype)
        if (asked := dtype.itemsize * math.prod(tensor.shape)) > MOST_ARRAY_BYTES:
            raise DataError(
                f"input {tensor.name} of {' x '.join(map(str, tensor.shape))} is too large to draw",
                got=f"{asked:,} bytes",
                expected=f"at most {MOST_ARRAY_BYTES:,}",
            )
        if dtype.kind == "f":
            feeds[tensor.name] = random.standard_normal(tensor.shape).astype(dtype)
        else:
            high = 2 if dtype.kind == "b" else min(255, int(np.iinfo(dtype).max)) + 1
            feeds[tensor.name] = random.integers(0, high, tensor.shape).astype(dtype)
    return feeds


def read_feeds(path: Path, spec: RunnerSpec) -> dict[str, NDArray[Any]]:
    """Inputs from an .npz file with one array per input; `DataError` where one does not fit."""
    feeds = read_npz(path, DataError)
    wanted = {tensor.name: tensor for tensor in spec.inputs}
    if feeds.keys() != wanted.keys():
        raise DataError(
            f"{path} does not hold the graph's inputs",
            got=", ".join(sorted(feeds)),
            expected=", ".join(sorted(wanted)),
        )
    for name, array in feeds.items():
        if (array.shape, array.dtype.name) != (wanted[name].shape, wanted[name].dtype):
            raise DataError(
                f"{path}: {name} does not fit",
                got=f"{array.dtype.name} {array.shape}",
                expected=f"{wanted[name].dtype} {wanted[name].shape}",
            )
    return feeds


def model_at(path: Path, *, check_hashes: bool = False) -> Model:
    """The bundle or the bare file at `path`."""
    return open_bundle(path, check_hashes=check_hashes) if path.is_dir() else path


def subject_of(model: Model) -> Subject:
    """Its name, and the sha256 of its manifest or file, external data of an ONNX file included."""
    if isinstance(model, Bundle):
        return Subject(name=model.path.resolve().name, sha256=model.manifest.sha256)
    sha256 = onnx_sha256(model) if model.suffix == ".onnx" else file_sha256(model)
    return Subject(name=model.resolve().name, sha256=sha256)


def feeds_for(model: Model, spec: RunnerSpec, *, seed: int = 0) -> Any:
    """Inputs for an open runner of the model: golden images, or seeded feeds of a file."""
    if isinstance(model, Bundle):
        images = model.golden()["images"][: spec.inputs[0].shape[0]]
        return as_taken(images, model.manifest.target.layout)
    return seeded_feeds(spec, np.random.default_rng(seed))
