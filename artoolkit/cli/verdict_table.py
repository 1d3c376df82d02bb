"""Checks as one table, the same for verify, export and compare."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from artoolkit.evidence.verdict import Check

STYLES = {"PASS": "green", "FAIL": "bold red", "UNDECIDED": "yellow", "UNAVAILABLE": "dim"}


def show_checks(checks: Iterable[Check], *, title: str, sentence: str | None = None) -> None:
    """Print a row a check, and the verdict's sentence below; text is never read as markup."""
    table = Table("check", "answer", "what was found", title=title, title_justify="left")
    for check in checks:
        name = check.name if check.required else f"{check.name} (not required)"
        found = Text(check.headline)
        if check.origin:
            found.append(f"\nanswered in {check.origin}", "dim")
        for line in check.details:
            found.append(f"\n{line}", "dim")
        table.add_row(Text(name), Text(check.result, STYLES[check.result]), found)
    console = Console()
    console.print(table)
    if sentence:
        console.print(Text(sentence, "bold"))
