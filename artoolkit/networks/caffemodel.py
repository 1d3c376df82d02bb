"""Reads the weights of a `.caffemodel` without Caffe: just enough of its protobuf wire format.

A NetParameter holds layers (field 100, or field 2 in older files), a layer its name and blobs, a
blob its shape and float32 data. Unknown fields are skipped, as protobuf asks.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from artoolkit.errors import CheckpointError
from artoolkit.wire import Value, fields, varint

# (field of the layer in the network, of its name, of its blobs): current and version 1 layers.
LAYER_FORMS = {100: (1, 7), 2: (4, 6)}
NORM_BLOBS = ("weight", "bias", "running_mean", "running_var")  # slope, bias, mean, variance
PLAIN_BLOBS = ("weight", "bias")


def _integers(value: Value) -> list[int]:
    """A repeated integer's values, packed or not."""
    if isinstance(value, int):
        return [value]
    values, position = [], 0
    while position < len(value):
        number, position = varint(value, position)
        values.append(number)
    return values


def _blob(data: memoryview) -> Tensor:
    """A blob's data in its shape: field 7, or four legacy fields 1 to 4."""
    shape: list[int] = []
    legacy: dict[int, int] = {}
    parts: list[memoryview] = []
    for number, value in fields(data):
        if number == 7 and not isinstance(value, int):
            shape = [size for n, dims in fields(value) if n == 1 for size in _integers(dims)]
        elif number in (1, 2, 3, 4) and isinstance(value, int):
            legacy[number] = value
        elif number == 5 and not isinstance(value, int):
            parts.append(value)
    values = np.frombuffer(b"".join(parts), "<f4").astype(np.float32)
    shape = shape or [legacy.get(number, 1) for number in (1, 2, 3, 4)]
    if math.prod(shape) != values.size:
        raise ValueError(f"{values.size} numbers for shape {shape}")
    return torch.from_numpy(values.reshape(shape))


def _layer(data: memoryview, name_field: int, blob_field: int) -> tuple[str, list[Tensor]]:
    name, blobs = "", []
    for number, value in fields(data):
        if isinstance(value, int):
            continue
        if number == name_field:
            name = bytes(value).decode()
        elif number == blob_field:
            blobs.append(_blob(value))
    return name, blobs


def _named(name: str, blobs: list[Tensor]) -> dict[str, Tensor]:
    if len(blobs) == len(NORM_BLOBS):
        return {
            f"{name}.{kind}": blob.flatten() for kind, blob in zip(NORM_BLOBS, blobs, strict=True)
        }
    if len(blobs) > len(PLAIN_BLOBS):
        raise ValueError(f"layer {name} has {len(blobs)} blobs")
    named = dict(zip((f"{name}.{kind}" for kind in PLAIN_BLOBS), blobs, strict=False))
    if f"{name}.bias" in named:
        named[f"{name}.bias"] = named[f"{name}.bias"].flatten()
    return named


def read_caffemodel(path: Path) -> dict[str, Tensor]:
    """Layer name + .weight / .bias (+ .running_mean / .running_var) -> float32 tensor.

    A layer of four blobs is a normalisation: slope, bias, mean, variance. Raises `CheckpointError`
    where the file is cut off, or no caffemodel.
    """
    state: dict[str, Tensor] = {}
    try:
        for number, value in fields(memoryview(path.read_bytes())):
            if number in LAYER_FORMS and not isinstance(value, int):
                state |= _named(*_layer(value, *LAYER_FORMS[number]))
    except (IndexError, ValueError, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"{path} is not a caffemodel, or it is cut off ({error})",
            hint="Is the download complete?",
        ) from error
    if not state:
        raise CheckpointError(f"{path} is a caffemodel without weights")
    return state
