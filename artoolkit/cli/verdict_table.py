"""A verdict in a few lines, numbers first; and all checks with their details as one table."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from artoolkit.cli.terminal import Terminal
from artoolkit.evidence.seal import write_atomically
from artoolkit.report.junit import junit_of

if TYPE_CHECKING:
    from artoolkit.evidence.verdict import Check, Verdict

STYLES = {"PASS": "green", "FAIL": "bold red", "UNDECIDED": "yellow", "UNAVAILABLE": "dim"}


# The checks whose numbers a reader looks for, in this order.
_NUMBERS = ("accuracy", "latency", "memory")
# Where these pass, their names say all.
_QUIET = ("graph", "training-only parts", "program", "program (TensorRT-RTX)", "outputs")


def give_verdict(
    verdict: Verdict, *, title: str, verbose: bool, as_json: bool, junit: Path | None
) -> None:
    """The verdict as a verb was asked for it: in the terminal or as JSON, and as JUnit XML."""
    if junit is not None:
        write_atomically(junit, junit_of({title: verdict.checks}))
    if as_json:
        click.echo(verdict.to_bytes().decode(), nl=False)
    else:
        show_verdict(verdict, title=title, verbose=verbose)


def show_verdict(verdict: Verdict, *, title: str, verbose: bool = False) -> None:
    """Print the answer and the numbers; with `verbose` every check with its details.

    Checks whose PASS says all share one line; any other has its own.
    """
    sentence = f"{verdict.result}: {verdict.meaning}"
    if verbose:
        show_checks(verdict.checks, title=title, sentence=sentence)
        return
    checks = {check.name: check for check in verdict.checks}
    rows = [checks.pop(name) for name in _NUMBERS if name in checks]
    passed = [checks[n] for n in _QUIET if n in checks and checks[n].result == "PASS"]
    console = Terminal()
    console.print(Text(sentence, "bold"))
    for check in [*rows, *(one for one in checks.values() if one not in passed)]:
        optional = "" if check.required else " (not required)"
        kept = f" [from {check.origin}]" if check.origin else ""
        line = Text(f"{check.result:<12}", STYLES[check.result])
        console.print(line.append(f"{check.name}{optional}: {check.headline}{kept}", ""))
        if check.advice:
            console.print(Text(f"{'':<12}{check.advice}", "dim"))
    if passed:
        line = Text(f"{'PASS':<12}", STYLES["PASS"])
        console.print(line.append(", ".join(check.name for check in passed), ""))
    where = verdict.environment
    console.print(Text(f"{title}; {where.processor}, {where.cores} cores", "dim"))


def show_checks(checks: Iterable[Check], *, title: str, sentence: str | None = None) -> None:
    """Print a row a check, and the verdict's sentence below; text is never read as markup."""
    table = Table("check", "answer", "what was found", title=title, title_justify="left")
    for check in checks:
        name = check.name if check.required else f"{check.name} (not required)"
        found = Text(check.headline)
        if check.origin:
            found.append(f"\nanswered in {check.origin}", "dim")
        for line in (*check.details, *([check.advice] if check.advice else ())):
            found.append(f"\n{line}", "dim")
        table.add_row(Text(name), Text(check.result, STYLES[check.result]), found)
    console = Terminal()
    console.print(table)
    if sentence:
        console.print(Text(sentence, "bold"))
