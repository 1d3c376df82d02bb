"""Published weights to a checkpoint: network built, weights loaded strictly, origin recorded.

`checkpoint_from_published` brings a whole network, `trunk_from_published` what a training run
starts from. Which key goes where is said in `published.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from artoolkit.data import cityscapes, nyuv2
from artoolkit.errors import CheckpointError, UsageError
from artoolkit.evidence.seal import file_sha256
from artoolkit.labels import LabelTable
from artoolkit.networks.builder import build
from artoolkit.networks.checkpoint import (
    Checkpoint,
    CheckpointMeta,
    is_checkpoint,
    load_strictly,
    state_differences,
)
from artoolkit.networks.custom import PREFIX
from artoolkit.networks.factory import is_custom
from artoolkit.networks.network import Network
from artoolkit.networks.published import (
    check_layout_of,
    classifier_keys,
    convert,
    detect,
    detect_with_trunks,
    load_trunk,
    names_in_file,
    trunk_state,
)
from artoolkit.networks.sources import Source, source_of_file
from artoolkit.networks.weight_files import Published, read_published
from artoolkit.spec import problems
from artoolkit.words import AUTO

log = logging.getLogger(__name__)

# What the public code bases mean by a number of classes when their files do not say.
KNOWN_TABLES: Mapping[tuple[str, int], LabelTable] = {
    ("mmseg", 19): cityscapes.LABELS,
    ("semseg", 19): cityscapes.LABELS,
    ("caffe", 19): cityscapes.LABELS,
    ("drsleep", 40): nyuv2.LABELS,
    **{(name, 19): cityscapes.LABELS for name in ("xujiacong", "ydhonghit", "coincheung")},
}
CAFFE_HW = (1025, 2049)


def checkpoint_from_published(
    path: Path,
    *,
    network: str,
    num_classes: int,
    layout: str = AUTO,
    labels: LabelTable | None = None,
    fallback: LabelTable | None = None,
    options: Mapping[str, Any] | None = None,
    take: str | None = None,
    seed: int = 0,
) -> Checkpoint:
    """The weights of `path` as a checkpoint of `network`, with label order and normalisation.

    `labels` None: those that the file states, or that its code base means by `num_classes`, or
    `fallback`. `take` as in `read_published`. With layout "torchvision" only the trunk is loaded;
    the rest starts from `seed`. The network's own code is run, never code of the file. Raises
    `CheckpointError` for a file that cannot be read or does not fit, every key named, `UsageError`
    where the classes stay unknown, `DownloadError` where a known file is not the published one.
    """
    source = _verified(path)
    _refuse_own(path)
    published = read_published(path, take=take)
    provenance = _origin(path, source)
    if is_custom(network):
        found, built = "own", build(network, num_classes=num_classes, **(options or {}))
        published, state, names = _into_own(published, built.state_dict())
        provenance |= _unreached(built)
    else:
        published = _in_layout(published, detect)
        found = detect(published.state) if layout == AUTO else layout
        check_layout_of(network, published.state, found)
        state, names = convert(published.state, found), names_in_file(published.keys, found)
        built = _built(network, num_classes, found, options or {}, seed)
    provenance |= _taken(published)
    if found == "torchvision":
        load_trunk(built, published.state)
        provenance["untrained"] = f"everything but the trunk, from seed {seed}"
    else:
        load_strictly(built, state, str(path), names)
    if found == "caffe":
        provenance |= {"imgsz": list(CAFFE_HW), "untrained": "auxiliary classifiers, at zero"}
    meta = CheckpointMeta(
        network=network,
        num_classes=num_classes,
        layout=built.layout,
        options=built.options,
        labels=labels_of(published, found, num_classes, labels, fallback),
        preprocess=built.preprocess,
        provenance=provenance | {"layout": found},
    )
    state = {key: value.clone() for key, value in built.state_dict().items()}
    return Checkpoint(meta, state, path)


def _into_own(
    published: Published, expected: Mapping[str, Tensor]
) -> tuple[Published, dict[str, Tensor], dict[str, str]]:
    """The file without the prefix that keeps it from a network of the user's own, if there is one.

    With its weights and its keys under the names that `expected` has.
    """
    wanted = {key.removeprefix(PREFIX) for key in expected}
    # The first of the best: a prefix is taken off only where that helps.
    published = max(published.bared(), key=lambda one: len(wanted & one.state.keys()))
    state = {PREFIX + key: value for key, value in published.state.items()}
    return published, state, {PREFIX + key: name for key, name in published.keys.items()}


def _unreached(built: Network) -> dict[str, Any]:
    """Parameters of a network of the user's own that its scores do not depend on; also logged."""
    keys = [key.removeprefix(PREFIX) for key in getattr(built, "unreached", ())]
    if keys:
        log.info("never in the deployed graph: %s", ", ".join(keys))
    return {"unreached": keys} if keys else {}


def _in_layout(published: Published, detect: Callable[[Mapping[str, object]], str]) -> Published:
    """The file without a prefix that hides its layout; as it is where it has none in any case."""
    for one in published.bared():
        with suppress(CheckpointError):
            detect(one.state)
            return one
    return published


def _taken(published: Published) -> dict[str, Any]:
    """Name of the set of weights taken, and tensors that belong to none; also logged."""
    found: dict[str, Any] = {}
    if published.taken:
        log.info("weights taken: %s (--take names another)", published.taken)
        found["taken"] = published.taken
    if published.beside:
        log.info("not weights of the network, left out: %s", ", ".join(published.beside[:8]))
        found["left_out"] = list(published.beside)
    return found


def _refuse_own(path: Path) -> None:
    if is_checkpoint(path):
        raise CheckpointError(
            f"{path} is a checkpoint of artoolkit already", hint="Use it as it is."
        )


def _verified(path: Path) -> Source | None:
    """The known source of a file of this name; `DownloadError` where it is not that file."""
    source = source_of_file(path.name)
    if source is not None and path.is_file():
        source.verify(path)
    return source


def _origin(path: Path, source: Source | None) -> dict[str, Any]:
    origin = {"file": path.name, "sha256": file_sha256(path)}
    if source is None:
        return origin
    known = {"source": source.name, "address": source.address, "license": source.license}
    return origin | {key: value for key, value in known.items() if value is not None}


def _built(
    network: str, num_classes: int, layout: str, options: Mapping[str, Any], seed: int
) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(
            network,
            num_classes=num_classes,
            layout=None if layout == "torchvision" else layout,
            **options,
        )


@dataclass(frozen=True)
class Trunk:
    """The weights that a network's encoder starts from, and what of the file has no place there."""

    checkpoint: Checkpoint
    layout: str
    left_out: tuple[str, ...]


def trunk_from_published(
    path: Path, network: Network, labels: LabelTable, *, take: str | None = None
) -> Trunk:
    """The encoder of `network` from a torchvision or v1c file, or out of a whole published network.

    A network of the user's own that names no encoder takes all of its weights. `CheckpointError`
    naming every key where the file holds another trunk; `network` itself stays as it is.
    """
    source = _verified(path)
    published = read_published(path, take=take)
    if is_custom(network.name):
        found = "own"
        published, state, names = _into_own(published, network.state_dict())
    else:
        published = _in_layout(published, detect_with_trunks)
        found = detect_with_trunks(published.state)
        names = names_in_file(published.keys, found)
        trunk_only = found == "torchvision"
        state = trunk_state(published.state) if trunk_only else convert(published.state, found)
    prefixes = encoder_prefixes(network)
    own = {key: value for key, value in network.state_dict().items() if key.startswith(prefixes)}
    trunk = {key: value for key, value in state.items() if key.startswith(prefixes)}
    if differences := state_differences(own, trunk, names):
        raise CheckpointError(
            f"{path} ({found}) does not hold the encoder of {network.name}",
            got="; ".join(differences),
            hint=f"Weights for it: artoolkit weights list --network {network.name}"
            if found != "own"
            else "Say which prefixes are the encoder: --option 'encoder=[\"backbone.\"]'.",
        )
    provenance = _origin(path, source) | {"layout": found} | _taken(published)
    meta = CheckpointMeta.of(network, labels, provenance=provenance)
    gone = classifier_keys(published.state) if found == "torchvision" else ()
    left_out = (*gone, *(names.get(key, key) for key in state if not key.startswith(prefixes)))
    return Trunk(Checkpoint(meta, trunk, path), found, tuple(left_out))


def encoder_prefixes(network: Network) -> tuple[str, ...]:
    """The prefixes of the encoder's keys; "", that is everything, where the network names none."""
    return tuple(network.encoder) or ("",)


def labels_of(
    published: Published,
    layout: str,
    num_classes: int,
    labels: LabelTable | None,
    fallback: LabelTable | None = None,
) -> LabelTable:
    """The label table of published weights; `UsageError` where nothing says what it is."""
    names = published.classes
    known = KNOWN_TABLES.get((layout, num_classes))
    if labels is None and names is not None:
        matching = (table for table in KNOWN_TABLES.values() if table.names == names)
        labels = next(matching, None) or _stated(names, published.palette)
    labels = labels or known or fallback
    if labels is None:
        raise UsageError(
            f"nothing says what the {num_classes} classes of these weights are",
            hint="Give --dataset, or where there is one --labels cityscapes, camvid, nyuv2 or a "
            "classes.toml.",
        )
    if labels.num_classes != num_classes:
        raise UsageError(
            f"the labels of {labels.name} are not those of this network",
            got=f"{labels.num_classes} classes",
            expected=num_classes,
        )
    return labels


def _stated(names: tuple[str, ...], palette: tuple[tuple[int, int, int], ...] | None) -> LabelTable:
    """The table of classes that a file names itself; grey where it has no colors."""
    count = len(names)
    greys = tuple((level, level, level) for level in (255 * (i + 1) // count for i in range(count)))
    try:
        return LabelTable(
            name="stated", names=names, colors=palette or greys, file_ids=tuple(range(count))
        )
    except ValidationError as error:
        raise CheckpointError(
            f"the classes that the file names are no label table: {problems(error)}",
            hint="Give --labels.",
        ) from error
