"""Names that options take: listed, completed, and checked before anything heavy is imported."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from artoolkit.errors import ArtoolkitError, RecipeError, UsageError
from artoolkit.words import DATASETS, NETWORKS

if TYPE_CHECKING:
    ParamType = click.ParamType[Any]
else:
    ParamType = click.ParamType

RECIPES = Path(__file__).parent.parent / "training" / "recipes"


def recipe_files() -> dict[str, Path]:
    """Name -> file of every recipe that comes with artoolkit."""
    return {path.stem: path for path in sorted(RECIPES.glob("*.toml"))}


def _targets() -> Iterable[str]:
    from artoolkit.targets import list_targets

    return list_targets()


def _networks() -> Iterable[str]:
    """The built-in ones, and what was added to their table where that is loaded."""
    builder = sys.modules.get("artoolkit.networks.builder")
    return NETWORKS if builder is None else builder.NETWORKS


class Name(ParamType):
    """A name of `kind`, or something that `other` accepts; `error` says which are known.

    The names are found when they are needed, since --help does not need them.
    """

    def __init__(
        self,
        kind: str,
        names: Callable[[], Iterable[str]],
        *,
        error: type[ArtoolkitError] = UsageError,
        other: Callable[[str], bool] = lambda text: False,
        hint: str = "",
    ) -> None:
        self.name, self.names, self.error = kind, names, error
        self.other, self.hint = other, hint

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        if text not in (known := tuple(self.names())) and not self.other(text):
            raise self.error.unknown(self.name, text, known, hint=self.hint)
        return text

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return [CompletionItem(name) for name in self.names() if name.startswith(incomplete)]


def _is_toml(text: str) -> bool:
    return text.endswith(".toml") or "/" in text


_FILE = "Or give the path of a .toml file."
DATASET = Name("data set", lambda: DATASETS)
NETWORK = Name("network", _networks, other=lambda text: ":" in text,
               hint="Or give package.module:factory.")  # fmt: skip
RECIPE = Name("recipe", recipe_files, error=RecipeError, other=_is_toml, hint=_FILE)
TARGET = Name("target", _targets, other=_is_toml, hint=_FILE)
