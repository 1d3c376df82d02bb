"""The experiment in one table: mIoU of the control, and what each arm adds to it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from experiment_reading import (
    Arm,
    Row,
    arms_of,
    differences,
    interval_text,
    of_arm,
    over_drives,
    rows_of,
    title,
)
from experiment_studies import Study, studies

from artoolkit.evaluation.experiment import difference_interval
from artoolkit.words import CONTROL

Column = tuple[str, list[Row], bool]  # its head, its rows, and whether they are averaged by seed


def table(rows: Sequence[Row]) -> list[str]:
    """Markdown: a column a split from the first baseline, then the unseen drives of each baseline.

    Control's mIoU in percent; of the others the mean paired difference in points with its 95 % t
    interval.
    """
    columns = _columns(rows, [study for study in studies() if not study.variant])
    lines = [f"| arm, weight | {' | '.join(head for head, _, _ in columns)} |"]
    lines += [f"|{'---|' * (len(columns) + 1)}"]
    lines += [f"| control, mIoU in % | {' | '.join(_control(found) for _, found, _ in columns)} |"]
    for arm in arms_of([row for _, found, _ in columns for row in found]):
        cells = [_difference(column, arm) for column in columns]
        lines.append(f"| {title(arm)} | {' | '.join(cells)} |")
    return lines


def _columns(rows: Sequence[Row], plain: Sequence[Study]) -> list[Column]:
    columns: list[Column] = []
    for study in plain:
        if study.baseline_seed == 1:
            name = study.name.replace("without-", "unseen ") if study.unseen else "usual split"
            columns.append((name, rows_of(rows, [study]), False))
    for seed in sorted({study.baseline_seed for study in plain}):
        mine = [study for study in plain if study.unseen and study.baseline_seed == seed]
        columns.append((f"unseen, mean, baseline {seed}", rows_of(rows, mine), True))
    return [column for column in columns if column[1]]


def _control(rows: Sequence[Row]) -> str:
    by_study: dict[str, list[float]] = {}
    for row in of_arm(rows, (CONTROL, 0.0)):
        by_study.setdefault(row["study"], []).append(row["mIoU"])
    means = [statistics.fmean(found) for found in by_study.values()]
    return f"{statistics.fmean(means):.2f}" if means else "-"


def _difference(column: Column, arm: Arm) -> str:
    _, rows, averaged = column
    interval = difference_interval(over_drives(rows, arm) if averaged else differences(rows, arm))
    return interval_text(interval) if interval else "-"
