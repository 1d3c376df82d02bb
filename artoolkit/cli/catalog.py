"""`artoolkit recipes|targets|datasets list|show`: what there is to name, and what is in it."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from artoolkit.cli.names import DATASET, RECIPE, TARGET, Name, recipe_files
from artoolkit.cli.talk import json_option, tell
from artoolkit.words import DATASETS

Fact = dict[str, Any]


def _group(kind: str, names: Callable[[], list[str]], read: Callable[[str], tuple[Fact, str]],
           taken: Name) -> click.Group:  # fmt: skip
    """`KIND list` and `KIND show NAME`; `read` gives what is known of a name, and its text."""

    @click.group(kind, help=f"List or show {kind} that come with artoolkit.")
    def group() -> None: ...

    @group.command("list", help=f"Names of the {kind}, each in one line.")
    @json_option
    def list_(*, as_json: bool) -> None:
        found = {name: read(name)[0] for name in names()}
        wide = max(map(len, found))
        rows = (f"{name:<{wide}}  {fact['description']}" for name, fact in found.items())
        tell({name: fact["description"] for name, fact in found.items()}, *rows, as_json=as_json)

    @group.command("show", help=f"What stands in one of the {kind}.")
    @click.argument("name", type=taken)
    @json_option
    def show(*, name: str, as_json: bool) -> None:
        fact, text = read(name)
        tell(fact, text.rstrip(), as_json=as_json)

    return group


def _toml(path: Path) -> tuple[Fact, str]:
    from artoolkit.spec import read_toml

    values = read_toml(path, "settings file")
    return {"description": "", **values}, path.read_text(encoding="utf-8-sig")


def _recipe(name: str) -> tuple[Fact, str]:
    return _toml(recipe_files().get(name) or Path(name))


def _target(name: str) -> tuple[Fact, str]:
    from artoolkit.targets import list_targets

    return _toml(list_targets().get(name) or Path(name))


def _dataset(name: str) -> tuple[Fact, str]:
    from artoolkit.data import label_table

    text = inspect.getdoc(importlib.import_module(f"artoolkit.data.{name}")) or ""
    classes = [] if name == "folder" else list(label_table(name).names)
    shown = f"{text}\n\n{len(classes)} classes: {', '.join(classes)}" if classes else text
    return {"description": text.splitlines()[0], "text": text, "classes": classes}, shown


def _target_names() -> list[str]:
    from artoolkit.targets import list_targets

    return list(list_targets())


recipes = _group("recipes", lambda: list(recipe_files()), _recipe, RECIPE)
targets = _group("targets", _target_names, _target, TARGET)
datasets = _group("datasets", lambda: list(DATASETS), _dataset, DATASET)
