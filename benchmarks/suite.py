"""Measures the cases of a suite one by one; the result file grows with each, so that it resumes.

    run_suite("latency", {"icnet fp32": measure_icnet}, machine="x86-2core", settings={"rounds": 5})

A case is a function without arguments that returns raw values: numbers, text, lists and dicts of
them. `shared_options` gives every benchmark command the same `--machine` and `--again`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
from result_file import ResultFile, result_path, write_result

from artoolkit.cli.progress import progress_bar
from artoolkit.commit import source_commit
from artoolkit.errors import ArtoolkitError
from artoolkit.evidence.records import read_record

Case = Callable[[], dict[str, Any]]
Command = TypeVar("Command", bound=Callable[..., Any])

UNAVAILABLE = "unavailable"
# No clock here is better than one in a million.
DIGITS = 6


def run_suite(
    suite: str,
    cases: Mapping[str, Case],
    *,
    machine: str,
    device: str = "cpu",
    settings: dict[str, Any],
    again: bool = False,
) -> Path:
    """Measure every case in order, with a progress bar, and return the result file.

    Its `raw` is {case: values}, floats rounded to six digits and the commit beside them, written
    after each case: the same command goes on where it stopped. A case that is in the file is not
    measured again unless `again`, which begins with an empty file. An `ArtoolkitError` of a case is
    kept as its {"unavailable": reason} and tried again the next time. Raises `click.UsageError`
    where the file was measured with other settings.
    """
    settings = json.loads(json.dumps(settings))
    path = result_path(suite, machine=machine, device=device)
    raw = {} if again else measured_before(path, settings)
    left = {name: case for name, case in cases.items() if not is_measured(raw.get(name))}
    if not left:
        click.echo(f"{path.name} holds every case already; --again measures anew", err=True)
    with progress_bar() as report:
        for done, (name, case) in enumerate(left.items()):
            report(f"{suite}: {name}", done / len(left))
            raw[name] = answer(case)
            write_result(suite, machine=machine, device=device, settings=settings, raw=raw)
    return path


def measured_before(path: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The cases in `path`, none where there is no file; `click.UsageError` on other settings."""
    if not path.exists():
        return {}
    before = read_record(path, ResultFile)
    other = {
        key: (before.settings.get(key), settings.get(key))
        for key in sorted({*before.settings, *settings})
        if before.settings.get(key) != settings.get(key)
    }
    if other:
        told = ", ".join(f"{key}: {was} there, {now} now" for key, (was, now) in other.items())
        raise click.UsageError(
            f"{path.name} was measured with other settings ({told}); "
            "--again measures everything anew"
        )
    return dict(before.raw)


def is_measured(values: Any) -> bool:
    """True if a case of a result file holds measured values, not a reason why it has none."""
    return isinstance(values, dict) and UNAVAILABLE not in values


def not_measured(raw: Mapping[str, Any]) -> list[str]:
    """Markdown, a line a case that has no values, with the reason."""
    missing = {name: row[UNAVAILABLE] for name, row in raw.items() if not is_measured(row)}
    return [line for name, why in missing.items() for line in ("", f"Not measured: {name}. {why}")]


def answer(case: Case) -> dict[str, Any]:
    """Result of the case, rounded, with its commit, or why it cannot be measured here."""
    try:
        values = rounded(case())
    except ArtoolkitError as error:
        return {UNAVAILABLE: str(error)}
    assert isinstance(values, dict), "a case returns a dict of raw values"
    return values | {"commit": source_commit()}


def rounded(value: Any) -> Any:
    """`value` with every float in it at six significant digits."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, Mapping):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(inner) for inner in value]
    return value


def shared_options(command: Command) -> Command:
    """`--machine` and `--again`, the same for every suite."""
    machine = click.option(
        "--machine", default="x86-2core", show_default=True, help="Kind of machine; no host name."
    )
    again = click.option("--again", is_flag=True, help="Measure every case anew.")
    return machine(again(command))
