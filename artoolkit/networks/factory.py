"""The code behind `package.module:factory`: whether it may run, where it is, what it makes.

Building a network of others runs its code, so a name that comes from a file and not from the user
is refused until the user names it too (`trust`).
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import nn

from artoolkit.errors import CheckpointError, UsageError

# What published code calls the number of classes.
CLASS_COUNTS = (
    "num_classes", "n_classes", "classes", "nclass", "num_class", "n_class", "num_labels",
    "nb_classes",
)  # fmt: skip
TRUSTED_VARIABLE = "ARTOOLKIT_TRUSTED_NETWORKS"


def is_custom(name: str) -> bool:
    """True if `name` has the form `package.module:factory`."""
    return ":" in name


def trust(name: str) -> None:
    """Says that the user named this network: checkpoints may build it, child processes too."""
    names = _trusted()
    if name not in names:
        os.environ[TRUSTED_VARIABLE] = ",".join((*names, name))


def _trusted() -> tuple[str, ...]:
    return tuple(filter(None, os.environ.get(TRUSTED_VARIABLE, "").split(",")))


def check_trusted(name: str, source: str) -> None:
    """`CheckpointError` if `name`, found in the file `source`, was never named by the user."""
    if name not in _trusted():
        raise CheckpointError(
            f"{source} is of the network {name}, which is code outside artoolkit",
            hint=f"Where you trust that code, give --network {name}, or set "
            f"{TRUSTED_VARIABLE}={name} in the environment.",
        )


def find_factory(name: str) -> Callable[..., object]:
    """Factory that `package.module:factory` names; the working directory is searched as well."""
    module_name, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        module = importlib.import_module(module_name)
    except ValueError as error:
        raise UsageError("not a network", got=name, expected="package.module:factory") from error
    except (Exception, SystemExit) as error:  # a user's code may raise anything
        what = "" if isinstance(error, ImportError) else f"{type(error).__name__}: "
        raise UsageError(
            f"network {name}: the module {module_name} cannot be imported ({what}{error})",
            hint="Install it, or run from the folder that holds it.",
        ) from error
    factory = getattr(module, attribute, None)
    if isinstance(factory, nn.Module):
        raise UsageError(
            f"network {name} is a module that was made already",
            expected="a class, or a function that makes one",
            hint="Two copies are needed, baseline and candidate: give the function that made it.",
        )
    if not callable(factory):
        raise UsageError(
            f"network {name}: {module_name} has no function or class {attribute!r}",
            expected="package.module:factory",
        )
    found: Callable[..., object] = factory
    return found


class _Namespace(dict[str, Any]):
    """Arguments as attributes, and by key: published code reads its `cfg` in both ways."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(
            (key, _Namespace(value) if isinstance(value, Mapping) else value)
            for key, value in values.items()
        )

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"no argument {name}") from None


def make_module(
    name: str, num_classes: int, arguments: Mapping[str, Any], namespace: str | None
) -> nn.Module:
    """What the factory makes for `num_classes` with its `arguments`.

    They are given by name or, where `namespace` names the parameter that takes one object, as its
    attributes. `UsageError` where nothing is made, with what the factory needs.
    """
    factory = find_factory(name)
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):
        parameters = MappingProxyType({})
    given = dict(arguments)
    if namespace is not None:
        given = {namespace: _Namespace(dict.fromkeys(CLASS_COUNTS, num_classes) | given)}
    elif not given.keys() & set(CLASS_COUNTS):
        count = next((word for word in CLASS_COUNTS if word in parameters), None)
        given |= {} if count is None else {count: num_classes}
    first = [
        parameter.name
        for parameter in parameters.values()
        if parameter.kind is parameter.POSITIONAL_ONLY and parameter.name in given
    ]
    by_name = {key: value for key, value in given.items() if key not in first}
    try:
        module = factory(*(given[key] for key in first), **by_name)
    except (Exception, SystemExit) as error:  # a user's code may raise anything
        needed = [
            parameter.name
            for parameter in parameters.values()
            if parameter.default is parameter.empty and parameter.name not in given
            and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        ]  # fmt: skip
        raise UsageError(
            f"network {name} cannot be made: {type(error).__name__}: {error}",
            got=", ".join(f"{key}={value!r}" for key, value in given.items()) or "no arguments",
            hint=f"Give it {', '.join(needed)}: --option 'arguments={{...}}', and --option "
            f"namespace={needed[0]} where that is one object with attributes."
            if needed
            else "Give it others with --option 'arguments={...}', or name a factory of your own.",
        ) from error
    if not isinstance(module, nn.Module):
        raise UsageError(f"{name} did not return an nn.Module", got=type(module).__name__)
    return module
