"""The experiment in one table: mIoU of the control, and what each arm adds to it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from experiment_reading import (
    Arm,
    Row,
    arms_of,
    differences,
    interval_text,
    new_streets,
    of_arm,
    over_drives,
    rows_of,
    title,
)
from experiment_studies import DRIVES, Study, studies

from artoolkit.evaluation.experiment import difference_interval
from artoolkit.statistics import Interval
from artoolkit.words import CONTROL

# Its head, its rows, and the interval of an arm's difference to control over them.
Column = tuple[str, list[Row], Callable[[list[Row], Arm], Interval | None]]


def table(rows: Sequence[Row]) -> list[str]:
    """Markdown: a column a split from the first baseline, then the unseen drives of each baseline.

    The last is over all unseen drives, baselines and seeds, with an interval about new drives.
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
            columns.append((name, rows_of(rows, [study]), _by_pair))
    for seed in sorted({study.baseline_seed for study in plain}):
        mine = [study for study in plain if study.unseen and study.baseline_seed == seed]
        columns.append((f"unseen, mean, baseline {seed}", rows_of(rows, mine), _by_seed))
    unseen = rows_of(rows, [study for study in plain if study.unseen])
    columns.append(("new streets", unseen, _by_drive))
    # What is about all drives says nothing before they were all tried.
    everywhere = len({row["val"][0] for row in unseen}) == len(DRIVES)
    return [
        (head, found, of) for head, found, of in columns if found and (of is _by_pair or everywhere)
    ]


def _control(rows: Sequence[Row]) -> str:
    by_study: dict[str, list[float]] = {}
    for row in of_arm(rows, (CONTROL, 0.0)):
        by_study.setdefault(row["study"], []).append(row["mIoU"])
    means = [statistics.fmean(found) for found in by_study.values()]
    return f"{statistics.fmean(means):.2f}" if means else "-"


def _difference(column: Column, arm: Arm) -> str:
    _, rows, interval_of = column
    if interval := interval_of(rows, arm):
        return interval_text(interval)
    found = differences(rows, arm) if interval_of is _by_pair else []
    return f"{found[0]:+.2f} (one pair)" if found else "-"


def _by_pair(rows: list[Row], arm: Arm) -> Interval | None:
    return difference_interval(differences(rows, arm))


def _by_seed(rows: list[Row], arm: Arm) -> Interval | None:
    return difference_interval(over_drives(rows, arm))


def _by_drive(rows: list[Row], arm: Arm) -> Interval | None:
    found = new_streets(rows, arm)
    return found.interval if found is not None and found.about == "new drives" else None
