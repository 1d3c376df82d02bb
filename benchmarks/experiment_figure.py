"""The figure of the experiment: a column a study, every paired difference and its interval."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from experiment_reading import Row, arms_of, differences, over_drives, title

from artoolkit.evaluation.experiment import difference_interval

Column = tuple[str, list[list[float]]]
STYLE: Any = {"svg.hashsalt": "experiment", "font.size": 8, "axes.spines.top": False,
              "axes.spines.right": False}  # fmt: skip


def figure_svg(rows: Sequence[Row], unseen: Sequence[str], order: Sequence[str]) -> str:
    """Studies in `order`, then the mean over the `unseen` ones of the first baseline, as SVG."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    arms = arms_of(rows)
    columns: list[Column] = []
    for study in order:
        found = [row for row in rows if row["study"] == study]
        if found:
            columns.append((study, [differences(found, arm) for arm in arms]))
    first = [row for row in rows if row["study"] in unseen]
    columns.append(("unseen, mean, baseline 1", [over_drives(first, arm) for arm in arms]))
    with mpl.rc_context(STYLE):
        size = (1.2 + 1.7 * len(columns), 1.3 + 0.34 * max(1, len(arms)))
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(1, len(columns), sharex=True, sharey=True, squeeze=False)[0]
        for one, column in zip(axes, columns, strict=True):
            _draw(one, *column)
        axes[0].set_yticks(range(len(arms)), [title(arm) for arm in arms])
        axes[0].invert_yaxis()
        figure.supxlabel("mIoU less control's of the same seed, points; bar: 95 % t interval")
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _draw(axes: Any, name: str, values: Sequence[Sequence[float]]) -> None:
    axes.set_title(name, fontsize=8)
    axes.axvline(0, color="#7a7a7a", linewidth=1)
    for place, found in enumerate(values):
        axes.plot(found, [place] * len(found), "o", color="#7a7a7a", markersize=3, alpha=0.6)
        interval = difference_interval(found)
        if interval:
            axes.plot([interval.low, interval.high], [place] * 2, color="#2f7fc1", linewidth=2)
            axes.plot([interval.estimate], [place], "o", color="#2f7fc1", markersize=5)
