"""Commands that write, killed before and in the middle of every step that changes a file.

    python benchmarks/crash_points.py

The commands are those of `tests/fuzz/crashes.py`, where `make test` tries some of the steps. It
stops at a state that is neither the old one nor a whole new one, and at a command that does not
go on.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import pytest
from result_file import write_result

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]


@click.command()
@click.option("--machine", default="x86-2core", show_default=True)
def main(*, machine: str) -> None:
    """Kill every command that writes at every step; minutes."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    # As pytest does, so that both find the same files.
    found = settings["tool"]["pytest"]["ini_options"]["pythonpath"]
    sys.path[:0] = [str(ROOT / path) for path in found]
    from crashes import journeys

    raw = {}
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        for journey in journeys(Path(folder), patch):
            raw[journey.name] = dict(journey.count())
            click.echo(f"{journey.name}: {json.dumps(raw[journey.name])}")
    write_result("crashes", machine=machine, device="files", settings={}, raw=raw)


def table(raw: dict[str, Any]) -> list[str]:
    """The states that the crashes of each command left."""
    states = ("old", "between", "new")
    head = ("command", "crashes", "old state", "whole one on the way", "new state")
    rows = [(f"`{name}`", sum(found.values()), *(found.get(state, 0) for state in states))
            for name, found in raw.items()]  # fmt: skip
    return [_row(head), _row(["---"] * len(head)), *map(_row, rows)]


def _row(cells: Iterable[object]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


if __name__ == "__main__":
    main()
