"""Callbacks for trackers of experiments, by name; a tracker is one file and one line here."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from artoolkit.errors import UsageError
from artoolkit.evidence.callback import Callback
from artoolkit.words import TRACKERS


@contextmanager
def tracking(names: Sequence[str]) -> Iterator[tuple[Callback, ...]]:
    """The trackers `names`, open, and closed at the end.

    A name is one of `words.TRACKERS`, or `module:factory` of a `Callback` of one's own. Raises
    `UsageError` for another name, `MissingLibraryError` where its library is missing.
    """
    with ExitStack() as stack:
        opened = [_open(name) for name in names]
        for one in opened:
            stack.callback(one.close)
        yield tuple(opened)


def _open(name: str) -> Callback:
    module, separator, factory = TRACKERS.get(name, name).partition(":")
    if not separator:
        raise UsageError.unknown("tracker", name, TRACKERS, hint="Or give module:factory.")
    try:
        made = getattr(importlib.import_module(module), factory)()
    except (ImportError, AttributeError) as error:
        raise UsageError(f"tracker {name} cannot be used: {error}") from error
    if not isinstance(made, Callback):
        raise UsageError(f"{name} makes no Callback", got=type(made).__name__)
    return made
