"""`--network` and what belongs to it: the same words in every verb that builds or opens a network.

A verb decorated with `network_options` passes its keyword arguments to `requested_network`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from artoolkit.cli.names import NETWORK
from artoolkit.cli.options import CommaList, Command
from artoolkit.errors import UsageError
from artoolkit.words import AUTO, CHANNEL_ORDERS, LAYOUTS

if TYPE_CHECKING:
    from artoolkit.spec import RequestedNetwork

# Options of a network of the user's own, and how many numbers each takes.
CONVENTIONS = {"mean": 3, "std": 3, "channel_order": None, "align_corners": None}


def network_options(*, required: bool = False) -> Callable[[Command], Command]:
    """`--network`, `--layout`, `--option` and the conventions of a network of one's own."""

    def decorate(command: Command) -> Command:
        for option in reversed(
            (
                click.option(
                    "--network",
                    required=required,
                    type=NETWORK,
                    metavar="NAME|MODULE:FACTORY",
                    help="Built-in network name, or MODULE:FACTORY (an nn.Module class or "
                    "a function returning one).",
                ),
                click.option(
                    "--layout",
                    type=click.Choice((AUTO, *LAYOUTS)),
                    help="Key layout of the weights file.  [default: detected]",
                ),
                click.option(
                    "--take",
                    metavar="KEY",
                    help="Weights of a file that holds several, such as model beside ema.  [ema]",
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


def requested_network(values: dict[str, Any]) -> RequestedNetwork:
    """The values of `network_options`, taken out of a command's keyword arguments."""
    from artoolkit.spec import RequestedNetwork

    options = dict(map(option_value, values.pop("network_option")))
    for name, count in CONVENTIONS.items():
        value = values.pop(name)
        if isinstance(value, tuple):
            if len(value) != count:
                raise UsageError(f"--{name} takes {count} numbers with commas", got=len(value))
            value = list(value)  # as it comes back from a checkpoint
        if value is not None:
            options[name] = value
    layout, take = values.pop("layout"), values.pop("take")
    return RequestedNetwork(
        name=values.pop("network"),
        layout=None if layout == AUTO else layout,
        take=take,
        options=options,
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
