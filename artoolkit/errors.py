"""Every way in which artoolkit can fail, each with its exit code.

A message is one line that says what happened, what was found, what was expected and what to do
next. Code raises the class that fits; the command line prints the line and exits with its code.
Misuse of the Python API raises `ValueError` instead, as in any library.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from typing_extensions import Self


# What steers a terminal (C0, C1) or turns the direction of its text.
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    """The text as it may be shown: what would steer a terminal, or is no UTF-8, as `\\x1b`."""
    shown = _STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
    return shown.encode("utf-8", "backslashreplace").decode()


class ArtoolkitError(Exception):
    """One line for a person: what, got, expected, next step."""

    exit_code: ClassVar[int] = 10

    def __init__(
        self,
        what: str,
        *,
        got: object | None = None,
        expected: object | None = None,
        hint: str | None = None,
    ) -> None:
        self.what, self.got, self.expected, self.hint = what, got, expected, hint
        parts = [what]
        if got is not None:
            parts.append(f"got {got}")
        if expected is not None:
            parts.append(f"expected {expected}")
        line = "; ".join(parts)
        text = " ".join((f"{line}. {hint}" if hint else line).split())
        super().__init__(visible(text))

    @classmethod
    def unknown(cls, kind: str, name: str, known: Iterable[str], *, hint: str = "") -> Self:
        """The error for a `name` that is none of the `known`, with the nearest of them."""
        names = tuple(known)
        near = difflib.get_close_matches(name, names, 1)
        step = f"Did you mean {near[0]}?" if near else ""
        # A long list would bury the name that was meant.
        expected = None if near and len(names) > 16 else f"one of {', '.join(names)}"
        return cls(
            f"unknown {kind}", got=repr(name), expected=expected, hint=f"{step} {hint}".strip()
        )


class UsageError(ArtoolkitError):
    """The options contradict each other, or a name is unknown."""

    exit_code = 2


class UnavailableError(UsageError):
    """A check of the verdict has no answer: something that it needs was not given."""


class DataError(ArtoolkitError):
    """A data set, an image or a label cannot be used."""

    exit_code = 4


class CheckpointError(ArtoolkitError):
    """A checkpoint or a file of published weights cannot be used."""

    exit_code = 5


class BundleError(ArtoolkitError):
    """A bundle is incomplete, changed, or made for something else."""

    exit_code = 6


class RecipeError(ArtoolkitError):
    """A recipe, target or other settings file is wrong."""

    exit_code = 7


class MissingLibraryError(ArtoolkitError):
    """An optional library is needed and not installed."""

    exit_code = 8


class ExportError(ArtoolkitError):
    """A network cannot be turned into a deployed graph."""

    exit_code = 9


class TrainingError(ArtoolkitError):
    """Training cannot go on: a loss is not finite, or a run cannot be resumed."""

    exit_code = 11


class BackendError(ArtoolkitError):
    """A backend, device or engine cannot run what it was given."""

    exit_code = 12


class EngineError(BackendError):
    """An engine cannot be built, or was built for something else."""

    exit_code = 13


class DownloadError(ArtoolkitError):
    """A file could not be fetched, or is not the file that was published."""

    exit_code = 14


class StorageError(ArtoolkitError):
    """A file cannot be written: the disk is full, or the folder is read-only."""

    exit_code = 15
