"""A checkpoint: one safetensors file with weights, and everything needed to use them, as JSON.

Never a pickle: reading a checkpoint runs no code. The JSON carries checksums of the tensors and of
itself, so that a flipped bit is refused. `published.py` reads what others publish.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, ValidationError
from torch import Tensor

from artoolkit.errors import CheckpointError
from artoolkit.evidence.seal import seal, write_atomically
from artoolkit.files import parse_json, reading
from artoolkit.labels import LabelTable
from artoolkit.networks.builder import build
from artoolkit.networks.custom import PREFIX
from artoolkit.networks.factory import check_trusted, is_custom
from artoolkit.networks.network import Network
from artoolkit.networks.weight_files import read_safetensors, require_finite, safetensors_header
from artoolkit.optional import require
from artoolkit.preprocess import Preprocess
from artoolkit.spec import Frozen, problems

HEADER_KEY = "artoolkit"
PURPOSE = "reading and writing checkpoints"
TENSORS, SEAL = "tensors_sha256", "sha256"

log = logging.getLogger(__name__)


class CheckpointMeta(Frozen):
    """Facts of the weights: network, classes, label order, normalisation, recipe, provenance."""

    network: str
    num_classes: int
    layout: str | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    labels: LabelTable
    preprocess: Preprocess
    recipe: dict[str, Any] = Field(default_factory=dict)
    provenance: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def of(cls, network: Network, labels: LabelTable, **more: Any) -> CheckpointMeta:
        """Description of `network`; `more` are the other fields, such as `recipe`."""
        return cls(
            network=network.name,
            num_classes=network.num_classes,
            layout=network.layout,
            options=network.options,
            labels=labels,
            preprocess=network.preprocess,
            **more,
        )

    @property
    def imgsz(self) -> tuple[int, int] | None:
        """Height and width of the one input that published weights were made for, if they were."""
        size = self.provenance.get("imgsz")
        return None if size is None else (int(size[0]), int(size[1]))


@dataclass(frozen=True)
class Checkpoint:
    """Weights by state-dict key, and what they are; `path` where it was read from a file."""

    meta: CheckpointMeta
    state: Mapping[str, Tensor]
    path: Path | None = None

    def network(self) -> Network:
        """The network, strictly loaded, in evaluation mode, with the recorded preprocessing.

        `CheckpointError` that lists every missing, left over and differently shaped key.
        """
        meta = self.meta
        source = str(self.path) if self.path else f"checkpoint of {meta.network}"
        if meta.labels.num_classes != meta.num_classes:
            raise CheckpointError(
                f"{source} contradicts itself about its classes",
                got=f"{meta.num_classes} classes and {meta.labels.num_classes} labels",
            )
        network = build(
            meta.network, num_classes=meta.num_classes, layout=meta.layout, **meta.options
        )
        load_strictly(network, self.state, source)
        network.preprocess = meta.preprocess
        return network.eval()


def _shape_list(keys: list[str]) -> str:
    shown = ", ".join(keys[:20])
    return shown if len(keys) <= 20 else f"{shown} and {len(keys) - 20} more"


def state_differences(
    expected: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    names: Mapping[str, str] | None = None,
) -> list[str]:
    """Differences of `state` from the keys and shapes of `expected`, one phrase per kind.

    `names` are the keys as the user's file has them, by those of `state`.
    """

    def name(key: str) -> str:
        return (names or {}).get(key, key.removeprefix(PREFIX))

    missing = [name(key) for key in expected if key not in state]
    left_over = [name(key) for key in state if key not in expected]
    reshaped = [
        f"{name(key)} {tuple(state[key].shape)} instead of {tuple(expected[key].shape)}"
        for key in expected
        if key in state and state[key].shape != expected[key].shape
    ]
    kinds = (("missing", missing), ("left over", left_over), ("of another shape", reshaped))
    return [f"{len(keys)} {kind}: {_shape_list(keys)}" for kind, keys in kinds if keys]


def load_strictly(
    network: Network,
    state: Mapping[str, Tensor],
    source: str,
    names: Mapping[str, str] | None = None,
) -> None:
    """Copies `state` into `network`; `CheckpointError` naming every key that does not fit.

    `names` as in `state_differences`.
    """
    if differences := state_differences(network.state_dict(), state, names):
        raise CheckpointError(
            f"the weights of {source} do not fit {network.name} with {network.num_classes} classes",
            got="; ".join(differences),
            hint="Check the network, its class count and its layout.",
        )
    network.load_state_dict(dict(state), strict=True)


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """The checkpoint in `path`, tensors on the CPU.

    `CheckpointError` where the file is missing, truncated, a pickle, or not artoolkit's, where a
    checksum does not match, where its weights are not finite, and where its network is code that
    the user never named (`factory.trust`).
    """
    file = Path(path)
    metadata, state = read_safetensors(file)
    if HEADER_KEY not in metadata:
        raise CheckpointError(
            f"{file} holds weights but no artoolkit header",
            hint="Say whose they are with --network, or make a checkpoint of them by "
            "`artoolkit weights import`.",
        )
    with reading(file, CheckpointError, what="the header of"):
        values = parse_json(metadata[HEADER_KEY])
        if not isinstance(values, dict):
            raise ValueError("it is no JSON object")
    _check_sums(values, state, file)
    require_finite(state, file)
    values = {key: value for key, value in values.items() if key not in (TENSORS, SEAL)}
    try:
        meta = CheckpointMeta.model_validate_json(json.dumps(values))
    except ValidationError as error:
        raise CheckpointError(f"the header of {file} is not valid: {problems(error)}") from error
    if is_custom(meta.network):
        check_trusted(meta.network, str(file))
    return Checkpoint(meta, state, file)


def state_sha256(state: Mapping[str, Tensor]) -> str:
    """sha256 over name, type, shape and bytes of every tensor (on the CPU), by name."""
    digest = hashlib.sha256()
    for key, tensor in sorted(state.items()):
        digest.update(f"{key}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _check_sums(values: Mapping[str, Any], state: Mapping[str, Tensor], file: Path) -> None:
    """`CheckpointError` where header or tensors are not those that were written."""
    if not {TENSORS, SEAL} & values.keys():
        log.warning("%s has no checksum (an earlier artoolkit wrote it): damage is not found", file)
        return
    for what, told, found in (
        ("header", values.get(SEAL), lambda: seal(values)[SEAL]),
        ("weights", values.get(TENSORS), lambda: state_sha256(state)),
    ):
        if told != found():
            raise CheckpointError(
                f"the {what} of {file} changed after it was written: the checksum does not match",
                hint="Copy the file again, or take an earlier checkpoint.",
            )


def is_checkpoint(path: str | os.PathLike[str]) -> bool:
    """True if `path` is a safetensors file with artoolkit's header; False for any other file."""
    return HEADER_KEY in (safetensors_header(Path(path)) or {})


def write_checkpoint(path: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Writes `checkpoint` as contiguous float32 on the CPU (integers as they are), atomically.

    The file appears complete or not at all; `StorageError` where it cannot be written.
    """
    safetensors_torch = require("safetensors.torch", PURPOSE)
    state = {key: _storable(tensor) for key, tensor in checkpoint.state.items()}
    meta = checkpoint.meta.model_dump(mode="json") | {TENSORS: state_sha256(state)}
    header = json.dumps(seal(meta), sort_keys=True)
    content = safetensors_torch.save(state, metadata={HEADER_KEY: header})
    write_atomically(Path(path), content)


def _storable(tensor: Tensor) -> Tensor:
    # A copy even where nothing changes: tied tensors share memory, which safetensors refuses.
    kind = torch.float32 if tensor.is_floating_point() else tensor.dtype
    return tensor.detach().to("cpu", kind, copy=True).contiguous()
