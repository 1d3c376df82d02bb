"""The report's figures as SVG text that takes its colors from the page, light or dark.

matplotlib writes fixed colors; each color here is a mark that `_themed` turns into a CSS
variable. A figure is a row of panels, so that a phone can stack them, and comes with a table of its
numbers, for those who do not see it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from artoolkit.checks.latency import LatencyResult
from artoolkit.checks.memory import mib
from artoolkit.evaluation.bootstrap import ClassChange, NonInferiority
from artoolkit.optional import require
from artoolkit.report.content import LatencyPart, MemoryPart, RunPart, in_order
from artoolkit.statistics import Equivalence

# Names of baseline and candidate, as a reader calls them.
Arms = tuple[str, str]

# Marks: no figure uses these colors by chance.
INK, LINE, A, B, MARGIN = "#010101", "#020202", "#030303", "#040404", "#050505"
_VARIABLES = {INK: "--ink", LINE: "--line", A: "--a", B: "--b", MARGIN: "--bad"}
_RUN_COLORS = (A, B, MARGIN, INK)
_RUN_LINES = ("-", "--", "-.", ":")
_WIDTH = 4.0
# A single mIoU, or nearly equal ones, shall not look like a change.
LEAST_POINTS = 2.0
# So many characters fit beside the title of a panel.
SHORT_NAMES = 16
_LABELS = {"cross_entropy": "cross-entropy", "mIoU": "val mIoU (%)"}


@dataclass(frozen=True)
class Figure:
    """SVG panels with a title, what they show in a sentence, and their numbers as a table."""

    title: str
    words: str
    panels: tuple[str, ...]
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class _Panel:
    """One drawing: its axes, and the SVG once it is finished."""

    def __init__(self, figure: Any, axes: Any) -> None:
        self.figure, self.axes, self.svg = figure, axes, ""


@contextmanager
def _panel(title: str, *, salt: str, height: float = 2.5) -> Iterator[_Panel]:
    """Axes in the page's style; `salt` makes the ids in the SVG its own on the page."""
    require("matplotlib", "the figures of a report")
    import matplotlib as mpl
    from matplotlib.figure import Figure as Canvas

    style: Any = {
        "svg.fonttype": "none", "svg.hashsalt": f"{salt} {title}", "font.family": "sans-serif",
        "font.size": 9, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": LINE,
        "xtick.color": INK, "ytick.color": INK, "grid.color": LINE, "axes.grid": True,
        "grid.linewidth": 0.5, "axes.spines.top": False, "axes.spines.right": False,
        "legend.frameon": False, "axes.axisbelow": True, "axes.titlesize": 9,
        "axes.titlelocation": "left",
    }  # fmt: skip
    with mpl.rc_context(style):
        figure = Canvas(figsize=(_WIDTH, height), layout="constrained")
        figure.patch.set_alpha(0)
        axes = figure.subplots()
        axes.patch.set_alpha(0)
        axes.set_title(title)
        panel = _Panel(figure, axes)
        yield panel
        panel.svg = _themed(figure, title)


def _legend(axes: Any) -> None:
    """Right of the title, where no value lies under it."""
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0)


def svg_element(figure: Any, variables: Mapping[str, str]) -> tuple[str, str]:
    """Attributes of the tag `<svg ...>` and the text after it, the same on each day.

    `variables`: the color that a drawing uses -> the CSS variable that takes its place.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    for color, variable in variables.items():
        text = text.replace(color, f"var({variable})")
    head, _, rest = text.partition(">")
    return head, rest


def _themed(figure: Any, title: str) -> str:
    """The SVG element alone, scaling with the page, in the page's colors."""
    head, rest = svg_element(figure, _VARIABLES)
    # matplotlib calls the groups of every figure figure_1, axes_1, ...; nothing refers to them.
    rest = re.sub(r'<g id="[^"]*"', "<g", rest)
    box = head[head.index("viewBox=") :].split('"')[1]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{box}" role="img" aria-label="{escape(title)}">{rest}'
    )


def latency_figure(part: LatencyPart, name: str, arms: Arms) -> Figure:
    """Every inference, block medians, and the interval of the difference against the margin."""
    one, other = arms
    reading = part.reading
    beyond = sum(part.inferences.beyond)
    rows = tuple(
        (
            _named(found, reading), f"{found.difference_percent.estimate:+.2f}",
            f"{found.difference_percent.low:+.2f}", f"{found.difference_percent.high:+.2f}",
            f"{found.margin_percent:g}", str(found.pairs), found.reading,
        )
        for found in (reading.control, reading.quick, reading.median, reading.tail) if found
    )  # fmt: skip
    words = (
        f"Median {reading.median_ms[0]:.3f} ms ({one}) and {reading.median_ms[1]:.3f} ms "
        f"({other}), {part.includes}. {reading.disturbed_blocks} of {reading.blocks} blocks were "
        "disturbed"
    )
    if reading.disturbances:
        causes = ", ".join(f"{cause} {count}x" for cause, count in reading.disturbances.items())
        words += f" ({causes})"
    words += f"; all are counted. Inferences that took longer than shown: {beyond}."
    return Figure(
        title="Latency",
        words=" ".join([words, *(f"{note.capitalize()}." for note in part.notes)]),
        panels=(
            _inferences_panel(part, name, arms),
            _medians_panel(part, name, arms),
            _margin_panel(part, name),
        ),
        head=("statistic", f"{other} - {one}, %", "low", "high", "margin", "pairs", "reading"),
        rows=rows,
    )


def _named(one: Equivalence, result: LatencyResult) -> str:
    return f"baseline twice: {one.statistic}" if one is result.control else one.statistic


def _inferences_panel(part: LatencyPart, name: str, arms: Arms) -> str:
    with _panel("All inferences", salt=name) as panel:
        counts = part.inferences
        for values, color, line, arm in (
            (counts.baseline, A, "-", arms[0]),
            (counts.candidate, B, "--", arms[1]),
        ):
            panel.axes.stairs(values, counts.edges_ms, color=color, linestyle=line, label=arm)
        panel.axes.set_xlabel("ms")
        panel.axes.set_ylabel("inferences")
        _legend(panel.axes)
    return panel.svg


def _medians_panel(part: LatencyPart, name: str, arms: Arms) -> str:
    with _panel("Medians of the blocks", salt=name) as panel:
        random = np.random.default_rng(0)
        for place, values, color in ((1, part.baseline_ms, A), (0, part.candidate_ms, B)):
            jitter = place + random.uniform(-0.22, 0.22, len(values))
            panel.axes.scatter(values, jitter, s=9, color=color, alpha=0.6, linewidths=0)
            panel.axes.plot([np.median(values)] * 2, [place - 0.35, place + 0.35], color=color)
        panel.axes.set_yticks([1, 0], arms)
        panel.axes.set_xlabel("ms")
    return panel.svg


def _margin_panel(part: LatencyPart, name: str) -> str:
    reading = part.reading
    with _panel("Difference, 90 % intervals", salt=name) as panel:
        parts = (reading.tail, reading.median, reading.quick, reading.control)
        shown = [one for one in parts if one]
        for place, one in enumerate(shown):
            d = one.difference_percent
            panel.axes.plot([d.low, d.high], [place] * 2, color=INK, linewidth=2)
            panel.axes.plot([d.estimate], [place], "o", color=INK, markersize=5)
        panel.axes.set_yticks(range(len(shown)), [_named(one, reading) for one in shown])
        panel.axes.set_ylim(-0.6, len(shown) - 0.4)
        margin = reading.quick.margin_percent
        for side in (-1, 1):
            panel.axes.axvline(side * margin, color=MARGIN, linestyle="--")
        # What decides is to be seen; the median of a noisy machine may leave the drawing.
        deciding = [one.difference_percent for one in (reading.control, reading.quick)]
        limit = max(3 * margin, *(1.2 * max(abs(d.low), abs(d.high)) for d in deciding))
        low, high = panel.axes.get_xlim()
        panel.axes.set_xlim(max(low, -limit), min(high, limit))
        panel.axes.set_xlabel("%; dashed: margin")
    return panel.svg


def memory_figure(part: MemoryPart, name: str, arms: Arms) -> Figure:
    """Bytes by component, side by side; the table has the peaks of whole processes too."""
    title = "Memory"
    names = [key.removesuffix("_bytes") for key in part.components]
    with _panel("Components", salt=name, height=2.2) as panel:
        for shift, index, color, arm in ((-0.2, 0, A, arms[0]), (0.2, 1, B, arms[1])):
            values = [pair[index] / 2**20 for pair in part.components.values()]
            places = np.arange(len(names)) + shift
            panel.axes.barh(places, values, 0.36, color=color, label=arm)
        panel.axes.set_yticks(range(len(names)), names)
        panel.axes.invert_yaxis()
        panel.axes.set_xlabel("MiB")
        _legend(panel.axes)
    rows = [
        (key.removesuffix("_bytes"), f"{a:,}", f"{b:,}", f"{b - a:+,}" if b != a else "equal")
        for key, (a, b) in part.components.items()
    ]
    if part.processes:
        one, other = (f"{mib(min(peaks))} to {mib(max(peaks))}" for peaks in part.processes)
        rows.append(("peak of a process", one, other, "reported, not compared"))
    head = ("component", *(f"{arm}, bytes" for arm in arms), "difference")
    return Figure(title, f"Source: {part.source}.", (panel.svg,), head, tuple(rows))


def accuracy_figure(part: NonInferiority, name: str, arms: Arms) -> Figure:
    """The IoU of both by class, and the differences with their 95 % intervals.

    A class that neither finds anywhere is named in the words and not drawn.
    """
    rows = tuple(
        (
            c.name, _percent(c.baseline), _percent(c.candidate),
            f"{c.difference.estimate:+.2f}" if c.difference else "-",
            f"{c.difference.low:+.2f} to {c.difference.high:+.2f}" if c.difference else "-",
        )
        for c in part.classes
    )  # fmt: skip
    d = part.difference_points
    whole = ("mIoU", f"{part.baseline_miou:.2f}", f"{part.candidate_miou:.2f}",
             f"{d.estimate:+.2f}", f"{d.low:+.2f} to {d.high:+.2f}")  # fmt: skip
    words = f"{part.images} images, {part.resamples:,} resamples of the paired bootstrap. "
    words += "Of many classes some fall by chance: 1 in 40 is expected to."
    if nowhere := [c.name for c in part.classes if _is_nowhere(c)]:
        words += f" IoU 0 in both: {', '.join(nowhere)}."
    return Figure(
        title="Accuracy",
        words=words,
        panels=(_iou_panel(part, name, arms), _change_panel(part, name)),
        head=("class", *(f"{arm}, %" for arm in arms), "difference", "95 % interval"),
        rows=(whole, *rows),
    )


def _lines_height(count: int) -> float:
    """Inches for so many lines of text and an axis below."""
    return 0.95 + 0.22 * count


def _is_nowhere(change: ClassChange) -> bool:
    return not change.baseline and not change.candidate


def _iou_panel(part: NonInferiority, name: str, arms: Arms) -> str:
    known = [("mIoU", part.baseline_miou, part.candidate_miou)]
    known += [
        (c.name, c.baseline, c.candidate)
        for c in part.classes
        if c.baseline is not None and c.candidate is not None and not _is_nowhere(c)
    ]
    with _panel("IoU", salt=name, height=_lines_height(len(known))) as panel:
        places = range(len(known))
        panel.axes.hlines(
            places, [one[1] for one in known], [one[2] for one in known], color=LINE, linewidth=2
        )
        for index, color, mark, arm in ((1, A, "o", arms[0]), (2, B, "D", arms[1])):
            values = [line[index] for line in known]
            panel.axes.plot(values, places, mark, color=color, markersize=4, label=arm)
        panel.axes.set_yticks(places, [line[0] for line in known])
        panel.axes.invert_yaxis()
        panel.axes.set_xlabel("%")
        _legend(panel.axes)
    return panel.svg


def _change_panel(part: NonInferiority, name: str) -> str:
    changes = [(c.name, c.difference) for c in part.classes if c.difference and not _is_nowhere(c)]
    lines = [("mIoU", part.difference_points), *changes]
    # One rare class with a wide interval would flatten all others: its line leaves the drawing.
    reach = [max(abs(d.low), abs(d.high)) for _, d in lines]
    limit = max(3 * float(np.median(reach)), 1.2 * reach[0], 2 * part.margin_points)
    title = "Difference, 95 % intervals"
    with _panel(title, salt=name, height=_lines_height(len(lines))) as panel:
        for place, (_, d) in enumerate(lines):
            color = INK if place == 0 else MARGIN if d.high < 0 else B
            panel.axes.plot([d.low, d.high], [place] * 2, color=color, linewidth=2)
            panel.axes.plot([d.estimate], [place], "o", color=color, markersize=4)
        if max(reach) > limit:
            panel.axes.set_xlim(-limit, limit)
        panel.axes.axvline(0, color=INK, linewidth=0.8)
        panel.axes.axvline(-part.margin_points, color=MARGIN, linestyle="--")
        panel.axes.set_yticks(range(len(lines)), [line for line, _ in lines])
        panel.axes.invert_yaxis()
        panel.axes.set_xlabel("points; dashed: margin of the mIoU")
    return panel.svg


def _percent(value: float | None) -> str:
    return "left out" if value is None else f"{value:.2f}"


def curves_figure(runs: Sequence[RunPart]) -> Figure:
    """Figure 3 of the paper: every term of the loss and mIoU over the iterations, side by side."""
    curves = in_order({name: run.curves for run in runs for name in run.curves})
    names = [*(name for name in curves if name != "mIoU"), *({"mIoU"} & set(curves))]
    rows = tuple(
        (run.name, *(f"{run.curves[n].values[-1]:.4g}" if n in run.curves else "-" for n in names))
        for run in runs
    )
    return Figure(
        title="Training curves (Figure 3 of the paper)",
        words="Losses are smoothed for drawing; the table holds the last values.",
        panels=tuple(_curve_panel(runs, name) for name in names),
        head=("run", *map(_curve_label, names)),
        rows=rows,
    )


def _curve_label(name: str) -> str:
    return _LABELS.get(name, name.replace("_", " "))


def _curve_panel(runs: Sequence[RunPart], name: str) -> str:
    with _panel(_curve_label(name), salt="curves") as panel:
        for index, run in enumerate(runs):
            if (curve := run.curves.get(name)) is not None:
                panel.axes.plot(
                    curve.iterations,
                    curve.values,
                    color=_RUN_COLORS[index % len(_RUN_COLORS)],
                    linestyle=_RUN_LINES[index % len(_RUN_LINES)],
                    linewidth=1.2,
                    marker="." if name == "mIoU" else None,
                    label=run.name,
                )
        panel.axes.set_xlabel("iteration")
        low, high = panel.axes.get_ylim()
        if name == "mIoU" and high - low < LEAST_POINTS:
            middle = (low + high) / 2
            panel.axes.set_ylim(middle - LEAST_POINTS / 2, middle + LEAST_POINTS / 2)
        if sum(len(run.name) for run in runs) <= SHORT_NAMES:
            _legend(panel.axes)
        else:
            panel.axes.legend()
    return panel.svg
