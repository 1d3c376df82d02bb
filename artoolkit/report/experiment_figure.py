"""An experiment as one figure: every run's mIoU, and each arm's paired difference to control."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from artoolkit.evaluation.experiment import (
    COLUMNS,
    ROWS,
    ArmSummary,
    markdown_table,
    read_rows,
    summarise,
)
from artoolkit.evidence.seal import write_atomically
from artoolkit.optional import is_installed, require
from artoolkit.words import CONTROL

# Grey and blue that read on a white page and on a dark one.
CONTROL_COLOR, ARM_COLOR, LINE = "#7a7a7a", "#2f7fc1", "#8a8a8a"


def write_summary(out: Path, title: str) -> list[str]:
    """The lines of the table of an experiment's finished runs, and where it was written.

    Writes `out`/table.md, and `out`/figure.svg where matplotlib is installed; nothing where no run
    is finished.
    """
    summaries = summarise(read_rows(out / ROWS), metrics=tuple(COLUMNS))
    if not summaries:
        return []
    lines = markdown_table(summaries)
    write_atomically(out / "table.md", "\n".join([*lines, ""]).encode())
    if is_installed("matplotlib"):
        write_atomically(out / "figure.svg", experiment_svg(summaries, title).encode())
    return [*lines, str(out / "table.md")]


def experiment_svg(summaries: Sequence[ArmSummary], title: str) -> str:
    """An SVG image with a white background; the same bytes for the same numbers.

    Left: each run's mIoU in percent and the mean of the arm. Right: the mean difference to control
    in points, with its 95 % t interval, where an arm has two pairs or more.
    """
    require("matplotlib", "the figure of an experiment")
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style: Any = {
        "svg.hashsalt": "experiment", "svg.fonttype": "none", "font.family": "sans-serif",
        "font.size": 9, "axes.spines.top": False, "axes.spines.right": False,
        "axes.edgecolor": LINE, "axes.axisbelow": True, "axes.grid": True, "grid.linewidth": 0.4,
    }  # fmt: skip
    with mpl.rc_context(style):
        figure = Figure(figsize=(7.6, 1.4 + 0.32 * len(summaries)), layout="constrained")
        runs, differences = figure.subplots(1, 2, sharey=True)
        figure.suptitle(title, fontsize=10)
        _runs(runs, summaries)
        _differences(differences, summaries)
        runs.set_yticks(range(len(summaries)), [arm.title for arm in summaries])
        runs.invert_yaxis()
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _runs(axes: Any, summaries: Sequence[ArmSummary]) -> None:
    for place, arm in enumerate(summaries):
        color = CONTROL_COLOR if arm.arm == CONTROL else ARM_COLOR
        axes.plot(arm.miou, [place] * len(arm.miou), "o", color=color, markersize=4, alpha=0.6)
        axes.plot([arm.spread.mean] * 2, [place - 0.3, place + 0.3], color=color, linewidth=2)
    axes.set_xlabel("mIoU after the last epoch, %")


def _differences(axes: Any, summaries: Sequence[ArmSummary]) -> None:
    axes.axvline(0, color=CONTROL_COLOR, linewidth=1)
    for place, arm in enumerate(summaries):
        d = arm.difference
        if d is not None:
            axes.plot([d.low, d.high], [place] * 2, color=ARM_COLOR, linewidth=2)
            axes.plot([d.estimate], [place], "o", color=ARM_COLOR, markersize=5)
    axes.set_xlabel("difference to control, points (95 % t interval)")
