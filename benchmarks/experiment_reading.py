"""Results of the experiment's rows: paired differences, per study and over the unseen drives.

A difference is always to the control of the same study, baseline and seed; `against_plain` takes
the control of the study that a variant started from instead.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from experiment_studies import DRIVES, Study

from artoolkit.evaluation.experiment import difference_interval, paired_differences, summarise
from artoolkit.evaluation.hierarchy import Gain, gain
from artoolkit.statistics import Interval
from artoolkit.words import CONTROL

Row = dict[str, Any]
Arm = tuple[str, float]
RARE_PERCENT = 2.0


def arms_of(rows: Iterable[Row]) -> list[Arm]:
    """Arms with their weights, without the control, in the order of `summarise`."""
    return [(s.arm, s.ar_weight) for s in summarise(list(rows)) if s.arm != CONTROL]


def rows_of(rows: Iterable[Row], studies: Iterable[Study]) -> list[Row]:
    names = {study.name for study in studies}
    return [row for row in rows if row["study"] in names]


def of_arm(rows: Iterable[Row], arm: Arm) -> list[Row]:
    return [row for row in rows if (row["arm"], row["ar_weight"]) == arm]


def differences(rows: Sequence[Row], arm: Arm, metric: str = "mIoU") -> list[float]:
    """Paired differences to control of an arm, within each study."""
    found: list[float] = []
    for study in dict.fromkeys(row["study"] for row in rows):
        mine = [row for row in rows if row["study"] == study]
        found += paired_differences(of_arm(mine, arm), of_arm(mine, (CONTROL, 0.0)), metric)
    return found


def against_plain(rows: Sequence[Row], study: Study, arm: Arm) -> list[float]:
    """Paired differences of an arm of `study` to the control of the study that has its baseline."""
    ours = [row for row in rows if row["study"] == study.name]
    plain = [row for row in rows if row["study"] == study.baseline]
    return paired_differences(of_arm(ours, arm), of_arm(plain, (CONTROL, 0.0)), "mIoU")


def over_drives(rows: Sequence[Row], arm: Arm) -> list[float]:
    """The mean over the unseen drives of the paired difference, one value a seed that has all.

    `rows` are of one baseline seed.
    """
    values = []
    for seed in sorted({row["seed"] for row in rows}):
        found = differences([row for row in rows if row["seed"] == seed], arm)
        if len(found) == len(DRIVES):
            values.append(statistics.fmean(found))
    return values


def new_streets(rows: Sequence[Row], arm: Arm) -> Gain | None:
    """The gain of an arm with what it can be about: drives, baselines and seeds are all drawn.

    `rows` are of studies on drives that neither baselines nor arms have seen.
    """
    tree: dict[str, dict[str, list[float]]] = {}
    for study in dict.fromkeys(row["study"] for row in rows):
        mine = [row for row in rows if row["study"] == study]
        drive, baseline = ",".join(mine[0]["val"]), str(mine[0]["baseline_seed"])
        if found := differences(mine, arm):
            tree.setdefault(drive, {}).setdefault(baseline, []).extend(found)
    return gain(tree)


def reading(values: Sequence[float]) -> str:
    """Meaning of the interval; it is not shown where fewer than two pairs exist."""
    interval = difference_interval(values)
    if interval is None:
        return f"nothing can be said yet ({len(values)} pairs)"
    return f"{answered(interval)} points of mIoU, {len(values)} pairs"


def answered(interval: Interval) -> str:
    """An interval and what it shows."""
    answer = "no effect is shown"
    if interval.low > 0:
        answer = "it helped"
    elif interval.high < 0:
        answer = "it hurt"
    return f"{answer}: {interval_text(interval)}"


def with_groups(row: Row) -> Row:
    """The row with the mean IoU of its rare and of its frequent classes.

    A class is rare in a study where less than 2 % of the labelled pixels are its.
    """
    members: dict[str, list[float]] = {"rare_mIoU": [], "frequent_mIoU": []}
    for key, iou in row.items():
        if key.startswith("IoU.") and iou is not None:
            rare = row[f"share.{key[4:]}"] < RARE_PERCENT
            members["rare_mIoU" if rare else "frequent_mIoU"].append(iou)
    means = {group: statistics.fmean(ious) if ious else None for group, ious in members.items()}
    return {**row, **means}


def step_ratios(rows: Sequence[Row], arm: Arm) -> list[float]:
    """Time of a step over control's, of runs of one study, seed and kind of device."""

    def place(row: Row) -> tuple[Any, ...]:
        return (row["study"], row["seed"], row["device"])

    control = {place(row): row["step_s"] for row in of_arm(rows, (CONTROL, 0.0))}
    ours = [row for row in of_arm(rows, arm) if place(row) in control]
    return [row["step_s"] / control[place(row)] for row in ours]


def title(arm: Arm) -> str:
    return f"{arm[0]}, {arm[1]:g}" if arm[0] != CONTROL else CONTROL


def interval_text(interval: Interval) -> str:
    return f"{interval.estimate:+.2f} ({interval.low:+.2f} to {interval.high:+.2f})"
