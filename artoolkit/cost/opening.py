"""Opens what is to be measured: a bundle on any backend, or any ONNX file on ONNX Runtime.

An ONNX file that artoolkit did not make may take several inputs of any type; it is fed a mapping
from input names to arrays, made from a seed where the user gives none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artoolkit.backends import backend_for, backend_named
from artoolkit.backends.backend import Backend, Model
from artoolkit.cost.latency import Timed
from artoolkit.errors import DataError
from artoolkit.evidence.bundle import open_bundle
from artoolkit.files import read_npz
from artoolkit.spec import RunnerSpec


def seeded_feeds(spec: RunnerSpec, random: np.random.Generator) -> dict[str, NDArray[Any]]:
    """Inputs of the declared shapes: integers over 0-255 or the type's range, normal floats."""
    feeds: dict[str, NDArray[Any]] = {}
    for tensor in spec.inputs:
        dtype = np.dtype(tensor.dtype)
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


def model_at(path: Path) -> Model:
    """The bundle or the bare file at `path`."""
    return open_bundle(path, check_hashes=False) if path.is_dir() else path


def model_and_backend(path: Path, backend: str | None, **options: Any) -> tuple[Model, Backend]:
    """The model at `path`, and what runs it (None: what it was made for)."""
    model = model_at(path)
    if backend is not None:
        return model, backend_named(backend, **options)
    return model, backend_for(model, **options)


def open_any(
    path: Path, *, backend: str | None, device: str | None = None, threads: int | None = None
) -> Timed[Any]:
    """A bundle folder or a bare file on `backend`, open (None: what it was made for)."""
    model, runs = model_and_backend(path, backend)
    return runs.open(model, device=runs.device_for(model, device), threads=threads)


def feeds_for(path: Path, spec: RunnerSpec, *, seed: int = 0) -> Any:
    """What `open_any`'s runner infers from: golden images of a bundle, or seeded feeds."""
    if not path.is_dir():
        return seeded_feeds(spec, np.random.default_rng(seed))
    images = open_bundle(path, check_hashes=False).golden()["images"]
    return images[: spec.inputs[0].shape[0]]
