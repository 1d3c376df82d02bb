"""The page and the figure of the experiment, from its rows alone."""

from __future__ import annotations

import io
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from artoolkit.measure.experiment import (
    COLUMNS,
    CONTROL,
    difference_interval,
    markdown_table,
    paired_differences,
    summarise,
)
from artoolkit.measure.statistics import Interval
from artoolkit.seal import write_atomically

Row = dict[str, Any]
Arm = tuple[str, float]
Planned = dict[str, list[tuple[str, float, int]]]
UNSEEN = "without-"
RARE_PERCENT = 2.0
DRIVES = ("0001TP", "0006R0", "0016E5")
PARTS = {"mIoU": "mIoU", "boundary_mIoU": "at class borders", "interior_mIoU": "away from them"}
GROUPS = {
    "rare_mIoU": f"classes of less than {RARE_PERCENT:g} % of the pixels",
    "frequent_mIoU": "the other classes",
}


LIMITS = (
    "All seeds of a study start from one baseline, so that an interval covers the luck of the",
    "fine-tuning and not that of the baseline; studies that end in `-b2` start from another one.",
)

SHARED = (
    "Runs may have shared their machine with others; arms side by side, step by step, are measured",
    "by `training_step.py` and stand in [docs/speed.md](../../docs/speed.md).",
)


def write_page(rows: Sequence[Row], planned: Planned, results: Path) -> list[Path]:
    """The page and the figure beside the file of the rows; returns their paths."""
    figure = results.with_suffix(".svg")
    page = results.with_suffix(".md")
    shown = [row for row in rows if row.get("study") in planned]
    lines = page_lines(shown, planned, results.name, figure.name if shown else None)
    write_atomically(page, "\n".join(lines).encode())
    if not shown:
        return [page]
    write_atomically(figure, figure_svg(shown, list(planned)).encode())
    return [page, figure]


def page_lines(rows: Sequence[Row], planned: Planned, source: str, figure: str | None) -> list[str]:
    lines = [
        "# Does the affinity-regression loss help on CamVid?",
        "",
        f"Made from `{source}` by `python benchmarks/experiment.py --render`; do not edit.",
        "What was planned, and why so, stands at the top of that script.",
        "",
        *missing_lines(rows, planned),
        "",
        "## The answer so far",
        "",
        *answer_lines(rows),
        "",
    ]
    if figure:
        lines += [f"![Paired differences to control]({figure})", ""]
    for study in planned:
        found = [row for row in rows if row["study"] == study]
        if found:
            lines += [f"## {study}", "", _judged_on(found[0]), ""]
            lines += [*markdown_table(summarise(found, metrics=tuple(COLUMNS))), ""]
    if rows:
        lines += ["## Where the differences lie, on unseen drives", "", *where_lines(rows), ""]
        lines += ["## What it costs", "", *cost_lines(rows), ""]
    return lines


def missing_lines(rows: Sequence[Row], planned: Planned) -> list[str]:
    """How many of the planned runs there are, a line a study."""
    done = {(row["study"], row["arm"], row["ar_weight"], row["seed"]) for row in rows}
    total = sum(len(runs) for runs in planned.values())
    have = sum((study, *run) in done for study, runs in planned.items() for run in runs)
    lines = [f"**{have} of {total} planned runs are finished; {total - have} are missing.**", ""]
    lines += ["| study | finished | planned |", "|---|---|---|"]
    for study, runs in planned.items():
        finished = sum((study, *run) in done for run in runs)
        lines.append(f"| {study} | {finished} | {len(runs)} |")
    return lines


def arms_of(rows: Iterable[Row]) -> list[Arm]:
    """Arms with their weights, without the control, in the order of `summarise`."""
    return [(s.arm, s.ar_weight) for s in summarise(list(rows)) if s.arm != CONTROL]


def differences(rows: Sequence[Row], arm: Arm, metric: str = "mIoU") -> list[float]:
    """Paired differences to control of an arm, within each study."""
    found: list[float] = []
    for study in dict.fromkeys(row["study"] for row in rows):
        mine = [row for row in rows if row["study"] == study]
        ours = [row for row in mine if (row["arm"], row["ar_weight"]) == arm]
        found += paired_differences(ours, [r for r in mine if r["arm"] == CONTROL], metric)
    return found


def over_drives(rows: Sequence[Row], arm: Arm, metric: str = "mIoU") -> list[float]:
    """The mean over the unseen drives of the paired difference, one value a seed that has all."""
    unseen = _unseen(rows)
    values = []
    for baseline, seed in sorted({(row["baseline_seed"], row["seed"]) for row in unseen}):
        of = [r for r in unseen if (r["baseline_seed"], r["seed"]) == (baseline, seed)]
        found = differences(of, arm, metric)
        if len(found) == len(DRIVES):
            values.append(statistics.fmean(found))
    return values


def answer_lines(rows: Sequence[Row]) -> list[str]:
    """A sentence an arm on the unseen drives together, and on the usual split."""
    lines = []
    for title, values_of in (
        ("Unseen drives (mean over all of them, a value a seed)", over_drives),
        ("Usual split (validation drive seen in training)", _usual),
    ):
        lines += [f"{title}:", ""]
        told = [f"* {_title(arm)}: {reading(values_of(rows, arm))}" for arm in arms_of(rows)]
        lines += [*(told or ["* no run yet"]), ""]
    return [*lines, *LIMITS]


def reading(values: Sequence[float]) -> str:
    """What the interval says; it is not shown where fewer than two pairs exist."""
    interval = difference_interval(values)
    if interval is None:
        return f"nothing can be said yet ({len(values)} pairs)"
    answer = "no effect is shown"
    if interval.low > 0:
        answer = "it helped"
    elif interval.high < 0:
        answer = "it hurt"
    return f"{answer}: {_text(interval)} points of mIoU, {len(values)} pairs"


def where_lines(rows: Sequence[Row]) -> list[str]:
    """Mean paired difference per part of the image, for rare and frequent classes, and per class.

    In points. A class is rare in a study where less than 2 % of the labelled pixels are its.
    """
    unseen = [_with_groups(row) for row in _unseen(rows)]
    arms = arms_of(unseen)
    if not arms:
        return ["No run yet."]
    classes = {key: key[4:] for key in unseen[0] if key.startswith("IoU.")}
    lines = [f"| | {' | '.join(map(_title, arms))} |", f"|{'---|' * (len(arms) + 1)}"]
    for key, title in {**PARTS, **GROUPS, **classes}.items():
        cells = []
        for arm in arms:
            found = differences(unseen, arm, key)
            cells.append(f"{statistics.fmean(found):+.2f}" if found else "-")
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return lines


def _with_groups(row: Row) -> Row:
    """The row with the mean IoU of its rare and of its frequent classes."""
    members: dict[str, list[float]] = {group: [] for group in GROUPS}
    for key, iou in row.items():
        if key.startswith("IoU.") and iou is not None:
            rare = row[f"share.{key[4:]}"] < RARE_PERCENT
            members["rare_mIoU" if rare else "frequent_mIoU"].append(iou)
    means = {group: statistics.fmean(ious) if ious else None for group, ious in members.items()}
    return {**row, **means}


def cost_lines(rows: Sequence[Row]) -> list[str]:
    """Time of a step beside control's, runs of one seed and study on one kind of device."""
    lines = ["| arm | time of a step / control, median | runs |", "|---|---|---|"]
    control = {_place(row): row for row in rows if row["arm"] == CONTROL}
    for arm in arms_of(rows):
        ratios = [
            row["step_s"] / control[_place(row)]["step_s"]
            for row in rows
            if (row["arm"], row["ar_weight"]) == arm and _place(row) in control
        ]
        if ratios:
            lines.append(f"| {_title(arm)} | {statistics.median(ratios):.3f} | {len(ratios)} |")
    return [*lines, "", *SHARED]


def figure_svg(rows: Sequence[Row], order: Sequence[str]) -> str:
    """A column a study: every paired difference, and the mean with its 95 % t interval."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    arms = arms_of(rows)
    present = {row["study"] for row in rows}
    columns = [(s, [r for r in rows if r["study"] == s]) for s in order if s in present]
    style: Any = {"svg.hashsalt": "experiment", "font.size": 8, "axes.spines.top": False,
                  "axes.spines.right": False}  # fmt: skip
    with mpl.rc_context(style):
        size = (1.2 + 1.7 * (len(columns) + 1), 1.3 + 0.34 * max(1, len(arms)))
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(1, len(columns) + 1, sharey=True, squeeze=False)[0]
        for one, (study, found) in zip(axes, columns, strict=False):
            _draw(one, study, [differences(found, arm) for arm in arms])
        _draw(axes[-1], "unseen drives, mean", [over_drives(rows, arm) for arm in arms])
        axes[0].set_yticks(range(len(arms)), [_title(arm) for arm in arms])
        axes[0].invert_yaxis()
        figure.supxlabel("mIoU less control's of the same seed, points; bar: 95 % t interval")
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _draw(axes: Any, title: str, values: Sequence[Sequence[float]]) -> None:
    axes.set_title(title, fontsize=8)
    axes.axvline(0, color="#7a7a7a", linewidth=1)
    for place, found in enumerate(values):
        axes.plot(found, [place] * len(found), "o", color="#7a7a7a", markersize=3, alpha=0.6)
        interval = difference_interval(found)
        if interval:
            axes.plot([interval.low, interval.high], [place] * 2, color="#2f7fc1", linewidth=2)
            axes.plot([interval.estimate], [place], "o", color="#2f7fc1", markersize=5)


def _usual(rows: Sequence[Row], arm: Arm) -> list[float]:
    return differences([row for row in rows if not row["study"].startswith(UNSEEN)], arm)


def _unseen(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row["study"].startswith(UNSEEN)]


def _place(row: Row) -> tuple[Any, ...]:
    return (row["study"], row["seed"], row["device"])


def _judged_on(row: Row) -> str:
    return (
        f"Trained on {', '.join(row['train'])}, judged on the {row['images']} images of "
        f"{', '.join(row['val'])}, {row['epochs']} epochs from a baseline of seed "
        f"{row['baseline_seed']}, crops of {row['crop'][0]} x {row['crop'][1]}; on {row['device']}."
    )


def _title(arm: Arm) -> str:
    return f"{arm[0]}, {arm[1]:g}"


def _text(interval: Interval) -> str:
    return f"{interval.estimate:+.2f} ({interval.low:+.2f} to {interval.high:+.2f})"
