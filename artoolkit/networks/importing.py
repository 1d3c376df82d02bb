"""Published weights to a checkpoint: network built, weights loaded strictly, origin recorded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from artoolkit.data import cityscapes, nyuv2
from artoolkit.errors import CheckpointError, UsageError
from artoolkit.labels import LabelTable
from artoolkit.networks.builder import build
from artoolkit.networks.checkpoint import Checkpoint, CheckpointMeta, load_strictly
from artoolkit.networks.custom import PREFIX, is_custom
from artoolkit.networks.network import Network
from artoolkit.networks.published import (
    AUTO,
    Published,
    convert,
    detect,
    load_trunk,
    read_published,
)
from artoolkit.networks.sources import source_of_file
from artoolkit.seal import file_sha256
from artoolkit.spec import problems

# What the public code bases mean by a number of classes when their files do not say.
KNOWN_TABLES: Mapping[tuple[str, int], LabelTable] = {
    ("mmseg", 19): cityscapes.LABELS,
    ("semseg", 19): cityscapes.LABELS,
    ("caffe", 19): cityscapes.LABELS,
    ("drsleep", 40): nyuv2.LABELS,
}
CAFFE_HW = (1025, 2049)


def checkpoint_from_published(
    path: Path,
    *,
    network: str,
    num_classes: int,
    layout: str = AUTO,
    labels: LabelTable | None = None,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Checkpoint:
    """The weights of `path` as a checkpoint of `network`, with label order and normalisation.

    `labels` None: those that the file states, or that its code base means by `num_classes`. With
    layout "torchvision" only the trunk is loaded; the rest starts from `seed`. Raises
    `CheckpointError` for a file that cannot be read or does not fit, every key named, `UsageError`
    where the classes stay unknown, `DownloadError` where a known file is not the published one.
    """
    source = source_of_file(path.name)
    if source is not None and path.is_file():
        source.verify(path)
    published = read_published(path)
    provenance: dict[str, Any] = {"file": path.name, "sha256": file_sha256(path)}
    if source is not None:
        provenance |= {"source": source.name, "address": source.address}
    if is_custom(network):
        found, built = "own", build(network, num_classes=num_classes, **(options or {}))
        state = {PREFIX + key: value for key, value in published.state.items()}
    else:
        found = detect(published.state) if layout == AUTO else layout
        state = convert(published.state, found)
        built = _built(network, num_classes, found, options or {}, seed)
    if found == "torchvision":
        load_trunk(built, published.state)
        provenance["untrained"] = f"everything but the trunk, from seed {seed}"
    else:
        load_strictly(built, state, str(path))
    if found == "caffe":
        provenance |= {"imgsz": list(CAFFE_HW), "untrained": "auxiliary classifiers, at zero"}
    meta = CheckpointMeta(
        network=network,
        num_classes=num_classes,
        layout=built.layout,
        options=built.options,
        labels=labels_of(published, found, num_classes, labels),
        preprocess=built.preprocess,
        provenance=provenance | {"layout": found},
    )
    return Checkpoint(meta, {key: value.clone() for key, value in built.state_dict().items()})


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


def labels_of(
    published: Published, layout: str, num_classes: int, labels: LabelTable | None
) -> LabelTable:
    """The label table of published weights; `UsageError` where nothing says what it is."""
    names = published.classes
    known = KNOWN_TABLES.get((layout, num_classes))
    if labels is None and names is not None:
        matching = (table for table in KNOWN_TABLES.values() if table.names == names)
        labels = next(matching, None) or _stated(names, published.palette)
    labels = labels or known
    if labels is None:
        raise UsageError(
            f"nothing says what the {num_classes} classes of these weights are",
            hint="Give --labels cityscapes, camvid, nyuv2 or a classes.toml.",
        )
    if labels.num_classes != num_classes:
        raise UsageError(
            f"the labels of {labels.name} are not those of this network",
            got=f"{labels.num_classes} classes",
            expected=num_classes,
        )
    return labels


def _stated(names: tuple[str, ...], palette: tuple[tuple[int, int, int], ...] | None) -> LabelTable:
    """The table of classes that a file names itself; grey where it has no colours."""
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
