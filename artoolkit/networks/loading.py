"""`load`: a trained network from artoolkit's own file, or from weights that others published.

Where weights of others are opened, their network has to be named, and what is assumed about them
is logged for the user to check.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from artoolkit.errors import CheckpointError, UsageError
from artoolkit.labels import LabelTable
from artoolkit.networks.checkpoint import Checkpoint, is_checkpoint, read_checkpoint
from artoolkit.networks.factory import is_custom, trust
from artoolkit.networks.importing import checkpoint_from_published
from artoolkit.networks.sources import weights_file
from artoolkit.spec import RequestedNetwork
from artoolkit.words import AUTO

log = logging.getLogger(__name__)


def requested(network: RequestedNetwork | str | None) -> RequestedNetwork:
    """`network`, or the one of this name. Naming code of one's own allows it to be run."""
    if not isinstance(network, RequestedNetwork):
        network = RequestedNetwork(name=network)
    if network.name is not None and is_custom(network.name):
        trust(network.name)
    return network


def load(
    source: Checkpoint | Path | str,
    *,
    network: RequestedNetwork | str | None = None,
    labels: LabelTable | Callable[[], LabelTable] | None = None,
) -> Checkpoint:
    """Open a checkpoint, or weights of others where `network` names what they are of.

    `labels` are the classes of weights whose file does not state them; a callable is asked only
    where they are needed. A name of `weights list` that comes with an installed package is a
    source too, and an open checkpoint is returned as it is. Raises `CheckpointError` for a file
    that cannot be used or is of another network than asked for, `UsageError` where nothing says
    how many classes it has.

    >>> import artoolkit
    >>> checkpoint = artoolkit.load("runs/base/model.safetensors")
    >>> checkpoint.meta.network, checkpoint.meta.num_classes
    ('icnet', 19)
    >>> network = checkpoint.network()      # an nn.Module in evaluation mode
    """
    asked = requested(network)
    if isinstance(source, Checkpoint):
        return source
    path = weights_file(Path(source))
    if asked.name is None or is_checkpoint(path):
        checkpoint = read_checkpoint(path)
        _check_same(checkpoint, asked, path)
        return checkpoint
    if labels is None:
        raise UsageError(
            f"nothing says how many classes {path} has", expected="--dataset and its --data-root"
        )
    table = labels() if callable(labels) else labels
    checkpoint = checkpoint_from_published(
        path,
        network=asked.name,
        num_classes=table.num_classes,
        layout=asked.layout or AUTO,
        fallback=table,
        options=asked.options,
        take=asked.take,
    )
    log.info("%s: %s", path, described(checkpoint))
    return checkpoint


def _check_same(checkpoint: Checkpoint, asked: RequestedNetwork, path: Path) -> None:
    meta = checkpoint.meta
    stored: Mapping[str, Any] = {"layout": meta.layout, **meta.options}
    wanted = {"layout": asked.layout, **asked.options}
    if asked.name not in (None, meta.network):
        raise CheckpointError(
            f"{path} holds another network", got=meta.network, expected=asked.name
        )
    for name, value in wanted.items():
        if value is not None and stored.get(name) != value:
            raise CheckpointError(
                f"{path} holds a network with another {name.replace('_', ' ')}",
                got=stored.get(name, "its default"),
                expected=value,
                hint="A checkpoint knows its own options: leave them out.",
            )


def described(checkpoint: Checkpoint) -> str:
    """Network, classes and input convention in one line."""
    meta, normalised = checkpoint.meta, checkpoint.meta.preprocess
    resized = meta.options.get("align_corners", False) if is_custom(meta.network) else None
    return (
        f"{meta.network}, {meta.num_classes} classes of {meta.labels.name}, "
        f"layout {meta.provenance.get('layout', meta.layout)}, "
        f"{normalised.channel_order.upper()} mean {normalised.mean} std {normalised.std}"
        + ("" if resized is None else f", align_corners {'yes' if resized else 'no'}")
    )
