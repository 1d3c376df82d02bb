"""`--network` and what belongs to it: the same words in every verb that builds or opens a network.

A verb decorated with `network_options` passes its keyword arguments to `asked_network`, and opens
files with `open_checkpoint`: artoolkit's own checkpoints, and with --network weights of others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from artoolkit.cli.options import CommaList, Command
from artoolkit.errors import CheckpointError, UsageError
from artoolkit.words import AUTO, CHANNEL_ORDERS, LAYOUTS

if TYPE_CHECKING:
    from artoolkit.labels import LabelTable
    from artoolkit.networks.checkpoint import Checkpoint

# Options of a network of the user's own, and how many numbers each takes.
CONVENTIONS = {"mean": 3, "std": 3, "channel_order": None, "align_corners": None}


@dataclass(frozen=True, kw_only=True)
class AskedNetwork:
    """What the options say about the network; None and empty where they say nothing."""

    name: str | None = None
    layout: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def changes(self, stored_name: str | None) -> dict[str, Any]:
        """Recipe paths and values: another network replaces the table, otherwise single values."""
        if self.name is not None and self.name != stored_name:
            table = {"name": self.name, "layout": self.layout, "options": self.options}
            return {"network": table}
        layout = {} if self.layout is None else {"network.layout": self.layout}
        return layout | {f"network.options.{key}": value for key, value in self.options.items()}

    @staticmethod
    def of(checkpoint: Checkpoint) -> AskedNetwork:
        """The network of a checkpoint, so that other weights can be brought into the same one."""
        meta = checkpoint.meta
        return AskedNetwork(name=meta.network, layout=meta.layout, options=meta.options)


def trust_option(command: Command) -> Command:
    """`--network package.module:factory` for verbs that only open checkpoints: allows its code."""
    return click.option(
        "--network",
        metavar="MODULE:FACTORY",
        expose_value=False,
        callback=_trust,
        help="A network of your own, so that its checkpoint may run this code.",
    )(command)


def network_options(*, required: bool = False) -> Callable[[Command], Command]:
    """`--network`, `--layout`, `--option` and the conventions of a network of one's own."""

    def decorate(command: Command) -> Command:
        for option in reversed(
            (
                click.option(
                    "--network",
                    required=required,
                    metavar="NAME|MODULE:FACTORY",
                    callback=_trust,
                    help="A built-in network, or your own: an nn.Module or what makes one.",
                ),
                click.option(
                    "--layout",
                    type=click.Choice((AUTO, *LAYOUTS)),
                    help="Whose keys the weights have.  [default: found out]",
                ),
                click.option(
                    "--option",
                    "network_option",
                    multiple=True,
                    metavar="NAME=VALUE",
                    help="Option of the network, such as width=0.25 or arguments={...}; JSON.",
                ),
                click.option(
                    "--mean",
                    type=CommaList(float),
                    help="Your own network: mean of its input, in units of 0-255.  [ImageNet's]",
                ),
                click.option(
                    "--std",
                    type=CommaList(float),
                    help="Your own network: standard deviation, as --mean.  [ImageNet's]",
                ),
                click.option(
                    "--channel-order",
                    type=click.Choice(CHANNEL_ORDERS),
                    help="Your own network: order of its input, of --mean and --std.  [rgb]",
                ),
                click.option(
                    "--align-corners/--no-align-corners",
                    default=None,
                    help="Your own network: how its scores are resized to the labels.  [no]",
                ),
            )
        ):
            command = option(command)
        return command

    return decorate


def _trust(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """Who types the name of code allows it to be run: here, and in processes started from here."""
    if value is not None and ":" in value:
        from artoolkit.optional import require

        require("torch", f"the network {value}")
        from artoolkit.networks.custom import trust

        trust(value)
    return value


def asked_network(values: dict[str, Any]) -> AskedNetwork:
    """What `network_options` gave, taken out of a command's keyword arguments."""
    options = dict(map(option_value, values.pop("network_option")))
    for name, count in CONVENTIONS.items():
        value = values.pop(name)
        if isinstance(value, tuple):
            if len(value) != count:
                raise UsageError(f"--{name} takes {count} numbers with commas", got=len(value))
            value = list(value)  # as it comes back from a checkpoint
        if value is not None:
            options[name] = value
    layout = values.pop("layout")
    return AskedNetwork(
        name=values.pop("network"), layout=None if layout == AUTO else layout, options=options
    )


def option_value(text: str) -> tuple[str, Any]:
    """`name=value` with a JSON value, or a word."""
    name, separator, value = text.partition("=")
    if not separator:
        raise UsageError("--option is not NAME=VALUE", got=repr(text))
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def open_checkpoint(
    path: Path, asked: AskedNetwork, labels: Callable[[], LabelTable] | None = None
) -> Checkpoint:
    """The checkpoint at `path`; weights of others become one where `asked` names their network.

    `labels` gives the classes of a network whose file does not state them. Raises
    `CheckpointError` for a file that cannot be used or is of another network than asked for.
    """
    from artoolkit.networks.checkpoint import is_checkpoint, read_checkpoint

    if asked.name is None or is_checkpoint(path):
        checkpoint = read_checkpoint(path)
        _check_same(checkpoint, asked, path)
        return checkpoint
    from artoolkit.networks.importing import checkpoint_from_published

    if labels is None:
        raise UsageError(
            f"nothing says how many classes {path} has", expected="--dataset and its --data-root"
        )
    table = labels()
    return checkpoint_from_published(
        path,
        network=asked.name,
        num_classes=table.num_classes,
        layout=asked.layout or AUTO,
        fallback=table,
        options=asked.options,
    )


def _check_same(checkpoint: Checkpoint, asked: AskedNetwork, path: Path) -> None:
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
    resized = meta.options.get("align_corners", False) if ":" in meta.network else None
    return (
        f"{meta.network}, {meta.num_classes} classes of {meta.labels.name}, "
        f"layout {meta.provenance.get('layout', meta.layout)}, "
        f"{normalised.channel_order.upper()} mean {normalised.mean} std {normalised.std}"
        + ("" if resized is None else f", align_corners {'yes' if resized else 'no'}")
    )


def say_if_imported(checkpoint: Checkpoint) -> None:
    """What is assumed about weights of others, on standard error, for the user to check."""
    if checkpoint.path is not None and "file" in checkpoint.meta.provenance:
        click.echo(f"{checkpoint.path}: {described(checkpoint)}", err=True)
