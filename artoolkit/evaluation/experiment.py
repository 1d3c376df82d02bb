"""The rows of an experiment, one a finished run, and what they say about each arm.

A gain is a difference to the control arm of the same seed and baseline, after the last epoch; its
interval is Student's t over these pairs. Read `summarise` first.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from artoolkit.errors import DataError, StorageError
from artoolkit.evaluation.sequential import look_alpha
from artoolkit.evidence.folders import locked
from artoolkit.files import read_json_lines
from artoolkit.spec import Frozen
from artoolkit.statistics import Interval, student_interval
from artoolkit.words import ARMS, CONTROL

LEVEL = 0.95
ROWS = "runs.jsonl"
# What a table shows beside mIoU, where the rows have it.
COLUMNS = {
    "boundary_mIoU": "boundary mIoU, %",
    "interior_mIoU": "interior mIoU, %",
    "affinity_regression": "AR on val",
    "step_s": "seconds a step",
}
_NUMBER = (int, float)
# No percentage, weight or time comes near; beyond it, squares and sums overflow.
_LARGEST = 1e9
REQUIRED: dict[str, type | tuple[type, ...]] = {
    "arm": str,
    "ar_weight": _NUMBER,
    "seed": int,
    "epochs": _NUMBER,
    "mIoU": _NUMBER,
}
OPTIONAL: dict[str, type | tuple[type, ...]] = {
    "baseline": str,
    "split": str,
    **dict.fromkeys(COLUMNS, _NUMBER),
}

Row = dict[str, Any]


class Spread(Frozen):
    """Mean and standard deviation (n - 1; None for one run) of a metric over the runs of an arm."""

    mean: float
    sd: float | None


class ArmSummary(Frozen):
    """An arm at one weight: all numbers are of the last epoch, mIoU in percent.

    `difference` is the paired one to control, in points of mIoU, None where fewer than two seeds
    have both; `pairs` counts them. `corrected` is its interval where several arms, or several looks
    at them, were made: all of these together are wrong with a probability of 5 %. `metrics` holds
    what else every run of the arm recorded.
    """

    arm: str
    ar_weight: float
    miou: tuple[float, ...]
    spread: Spread
    pairs: int
    difference: Interval | None
    corrected: Interval | None = None
    metrics: dict[str, Spread]

    @property
    def title(self) -> str:
        builtin = self.arm in ARMS and self.arm != CONTROL
        return f"{self.arm}, {self.ar_weight:g}" if builtin else self.arm


def read_rows(path: Path) -> list[Row]:
    """The rows in a file of JSON lines, none where there is no file.

    A last line without its end was cut by a kill and is left out. Raises `DataError` for any other
    line that is no row.
    """
    if not path.exists():
        return []
    rows = read_json_lines(path, DataError)
    for number, row in enumerate(rows, start=1):
        present = {key: kind for key, kind in OPTIONAL.items() if row.get(key) is not None}
        wrong = [key for key, kind in (REQUIRED | present).items() if not _valid(row, key, kind)]
        if wrong:
            raise DataError(f"{path}, line {number}, has no valid {', '.join(wrong)}")
    return rows


def _valid(row: Row, key: str, kind: type | tuple[type, ...]) -> bool:
    value = row.get(key)
    small = not isinstance(value, _NUMBER) or abs(value) <= _LARGEST
    return isinstance(value, kind) and not isinstance(value, bool) and small


def row_key(row: Row) -> tuple[Any, ...]:
    """Names of the run that a row is of."""
    return tuple(row.get(k) for k in ("study", "baseline", "split", "arm", "ar_weight", "seed"))


def append_row(path: Path, row: Row) -> None:
    """Adds one row, on the disk when this returns; a line that a kill cut is removed first.

    Several processes may do so at once. A run that has a row keeps the one it has. Raises
    `StorageError` where it cannot be written; the rows before it stay whole.
    """
    line = json.dumps(row, allow_nan=False).encode() + b"\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b", buffering=0) as file, locked(file):
            file.seek(0)
            whole = file.read()
            file.truncate(whole.rfind(b"\n") + 1)
            if row_key(row) in map(row_key, read_rows(path)):
                return
            if file.write(line) != len(line):
                raise OSError("the disk is full")
            os.fsync(file.fileno())
    except OSError as error:
        raise StorageError(
            f"cannot write {path}: {error.strerror or error}", hint="Free some space."
        ) from error


def summarise(rows: Sequence[Row], *, metrics: Sequence[str] = ()) -> tuple[ArmSummary, ...]:
    """One summary an arm and weight: control first, then in the order of `ARMS` and by weight."""
    arms: dict[tuple[str, float], list[Row]] = {}
    for row in rows:
        arms.setdefault((row["arm"], float(row["ar_weight"])), []).append(row)
    looks: list[int] = next((row["looks"] for row in rows if row.get("looks")), [])
    tried = sum(key[0] != CONTROL for key in arms)
    control = {_pair(row): row for key, found in arms.items() if key[0] == CONTROL for row in found}
    return tuple(
        _summary(key, arms[key], control, metrics, looks, tried)
        for key in sorted(arms, key=lambda key: (_place(key[0]), key))
    )


def paired_differences(rows: Iterable[Row], control: Iterable[Row], metric: str) -> list[float]:
    """`metric` of each row less that of the control row with its seed, epochs and baseline."""
    references = {_pair(row): row for row in control}
    return [
        row[metric] - references[_pair(row)][metric]
        for row in rows
        if row.get(metric) is not None and references.get(_pair(row), {}).get(metric) is not None
    ]


def differences_by_seed(rows: Sequence[Row], arm: tuple[str, float]) -> dict[int, float]:
    """mIoU of an arm less that of the control, of each seed that has both."""
    control = {_pair(row): row["mIoU"] for row in rows if row["arm"] == CONTROL}
    return {
        row["seed"]: row["mIoU"] - control[_pair(row)]
        for row in rows
        if (row["arm"], float(row["ar_weight"])) == arm and _pair(row) in control
    }


def difference_interval(differences: Sequence[float]) -> Interval | None:
    """Their mean with its 95 % t interval; None for fewer than two."""
    return student_interval(differences, LEVEL) if len(differences) > 1 else None


def _summary(
    key: tuple[str, float],
    rows: list[Row],
    control: dict[Any, Row],
    metrics: Sequence[str],
    looks: Sequence[int],
    tried: int,
) -> ArmSummary:
    differences = [] if key[0] == CONTROL else paired_differences(rows, control.values(), "mIoU")
    values = tuple(float(row["mIoU"]) for row in rows)
    level = 1 - look_alpha(looks, len(differences), tried)
    several = len(differences) > 1 and (tried > 1 or len(looks) > 1)
    recorded = [name for name in metrics if all(row.get(name) is not None for row in rows)]
    return ArmSummary(
        arm=key[0],
        ar_weight=key[1],
        miou=values,
        spread=_spread(values),
        pairs=len(differences),
        difference=difference_interval(differences),
        corrected=student_interval(differences, level) if several else None,
        metrics={name: _spread([float(row[name]) for row in rows]) for name in recorded},
    )


def _spread(values: Sequence[float]) -> Spread:
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Spread(mean=float(np.mean(values)), sd=sd)


def _pair(row: Row) -> tuple[Any, ...]:
    """Key that two rows must share to be compared."""
    return tuple(row.get(key) for key in ("seed", "epochs", "baseline", "split"))


def _place(arm: str) -> int:
    return ARMS.index(arm) if arm in ARMS else len(ARMS)


def markdown_table(summaries: Sequence[ArmSummary]) -> list[str]:
    """The lines of a table: a row an arm, percent and points of mIoU."""
    columns: list[tuple[str, Callable[[ArmSummary], str]]] = [
        ("arm, weight", lambda arm: arm.title),
        ("runs", lambda arm: str(len(arm.miou))),
        ("mIoU, % (sd)", lambda arm: _spread_text(arm.spread)),
        ("difference to control (95 % t interval)", difference_text),
    ]
    if any(arm.corrected for arm in summaries):
        tried = sum(arm.arm != CONTROL for arm in summaries)
        columns.append((f"corrected for {tried} arms and all looks", _corrected_text))
    for name, title in COLUMNS.items():
        if any(name in arm.metrics for arm in summaries):
            columns.append((title, lambda arm, name=name: _metric_text(arm, name)))  # type: ignore[misc]
    return [
        f"| {' | '.join(title for title, _ in columns)} |",
        f"|{'---|' * len(columns)}",
        *(f"| {' | '.join(show(arm) for _, show in columns)} |" for arm in summaries),
    ]


def difference_text(arm: ArmSummary) -> str:
    """`+0.41 (-0.10 to +0.92), 5 pairs`, or a dash."""
    if arm.difference is None:
        return "-"
    d = arm.difference
    return f"{d.estimate:+.2f} ({d.low:+.2f} to {d.high:+.2f}), {arm.pairs} pairs"


def _corrected_text(arm: ArmSummary) -> str:
    return f"{arm.corrected.low:+.2f} to {arm.corrected.high:+.2f}" if arm.corrected else "-"


def _spread_text(spread: Spread) -> str:
    return f"{spread.mean:.2f}" + (f" ({spread.sd:.2f})" if spread.sd is not None else "")


def _metric_text(arm: ArmSummary, name: str) -> str:
    digits = 2 if name.endswith("mIoU") else 4
    return f"{arm.metrics[name].mean:.{digits}f}" if name in arm.metrics else "-"
