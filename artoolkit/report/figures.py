"""The report's figures as SVG text that takes its colours from the page, light or dark.

matplotlib writes fixed colours; each colour here is a mark that `_themed` turns into a CSS
variable. Every figure comes with a table of its numbers, for those who do not see it.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from artoolkit.measure.bootstrap import NonInferiority
from artoolkit.optional import require
from artoolkit.report.content import LatencyPart, MemoryPart, RunPart

# Marks: no figure uses these colours by chance.
INK, LINE, A, B, MARGIN = "#010101", "#020202", "#030303", "#040404", "#050505"
_VARIABLES = {INK: "--ink", LINE: "--line", A: "--a", B: "--b", MARGIN: "--bad"}
_RUN_COLOURS = (A, B, MARGIN, INK)
_LABELS = {
    "cross_entropy": "cross-entropy",
    "affinity_regression": "affinity regression",
    "mIoU": "val mIoU (%)",
}


@dataclass(frozen=True)
class Figure:
    """An SVG with its title, what it shows in a sentence, and its numbers as a table."""

    title: str
    words: str
    svg: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@contextmanager
def _axes(name: str, *, columns: int = 1, height: float = 2.6) -> Iterator[tuple[Any, Any]]:
    """A figure and its axes in the page's style; `name` makes the ids in the SVG its own."""
    require("matplotlib", "the figures of a report")
    import matplotlib as mpl
    from matplotlib.figure import Figure as Canvas

    style: Any = {
        "svg.fonttype": "none", "svg.hashsalt": name, "font.family": "sans-serif", "font.size": 9,
        "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": LINE, "xtick.color": INK,
        "ytick.color": INK, "grid.color": LINE, "axes.grid": True, "grid.linewidth": 0.5,
        "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False,
        "axes.axisbelow": True,
    }  # fmt: skip
    with mpl.rc_context(style):
        figure = Canvas(figsize=(7.2, height), layout="constrained")
        figure.patch.set_alpha(0)
        axes = figure.subplots(1, columns, squeeze=False)[0]
        for one in axes:
            one.patch.set_alpha(0)
        yield figure, axes


def _themed(figure: Any, title: str) -> str:
    """The SVG element alone, scaling with the page, in the page's colours."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    for mark, variable in _VARIABLES.items():
        text = text.replace(mark, f"var({variable})")
    head, _, rest = text.partition(">")
    size = [part for part in head.split() if part.startswith("viewBox")]
    box = head[head.index("viewBox=") :].split('"')[1] if size else "0 0 518 187"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{box}" role="img" aria-label="{title}">{rest}'
    )


def latency_figure(part: LatencyPart, name: str) -> Figure:
    """Block medians of both as strips, and the interval of the difference against the margin."""
    reading = part.reading
    title = "Latency: baseline A and candidate B"
    with _axes(f"latency {name}", columns=2) as (figure, (strips, margin)):
        random = np.random.default_rng(0)
        for place, values, colour in ((1, part.baseline_ms, A), (0, part.candidate_ms, B)):
            jitter = place + random.uniform(-0.22, 0.22, len(values))
            strips.scatter(values, jitter, s=9, color=colour, alpha=0.6, linewidths=0)
            strips.plot([np.median(values)] * 2, [place - 0.35, place + 0.35], color=colour)
        strips.set_yticks([1, 0], ["A", "B"])
        strips.set_xlabel("median of a block, ms")
        for place, one in enumerate(filter(None, (reading.tail, reading.median, reading.control))):
            d = one.difference_percent
            margin.plot([d.low, d.high], [place] * 2, color=INK, linewidth=2)
            margin.plot([d.estimate], [place], "o", color=INK, markersize=5)
        shown = [one for one in (reading.tail, reading.median, reading.control) if one]
        margin.set_yticks(range(len(shown)), [one.statistic for one in shown])
        margin.set_ylim(-0.6, len(shown) - 0.4)
        for side in (-1, 1):
            margin.axvline(side * reading.median.margin_percent, color=MARGIN, linestyle="--")
        margin.set_xlabel("B against A, %, 90 % interval; dashed: margin")
        svg = _themed(figure, title)
    rows = tuple(
        (
            one.statistic, f"{one.difference_percent.estimate:+.2f}",
            f"{one.difference_percent.low:+.2f}", f"{one.difference_percent.high:+.2f}",
            f"{one.margin_percent:g}", str(one.pairs), one.reading,
        )
        for one in (reading.control, reading.median, reading.tail) if one
    )  # fmt: skip
    words = (
        f"Median {reading.baseline_ms:.3f} ms (A) and {reading.candidate_ms:.3f} ms (B), "
        f"{part.includes}. {reading.disturbed_blocks} of {reading.blocks} blocks were disturbed; "
        "all are counted."
    )
    head = ("statistic", "B - A, %", "low", "high", "margin", "pairs", "reading")
    return Figure(title, words, svg, head, rows)


def memory_figure(part: MemoryPart, name: str) -> Figure:
    """Bytes by component, side by side."""
    title = "Memory by component"
    names = [key.removesuffix("_bytes") for key in part.components]
    with _axes(f"memory {name}", height=2.2) as (figure, (axes,)):
        for shift, index, colour, arm in ((0.2, 0, A, "A"), (-0.2, 1, B, "B")):
            values = [pair[index] / 2**20 for pair in part.components.values()]
            axes.barh(np.arange(len(names)) + shift, values, 0.36, color=colour, label=arm)
        axes.set_yticks(range(len(names)), names)
        axes.set_xlabel("MiB")
        axes.legend()
        svg = _themed(figure, title)
    rows = tuple(
        (key.removesuffix("_bytes"), f"{a:,}", f"{b:,}", f"{b - a:+,}" if b != a else "equal")
        for key, (a, b) in part.components.items()
    )
    head = ("component", "A, bytes", "B, bytes", "difference")
    return Figure(title, f"Source: {part.source}.", svg, head, rows)


def accuracy_figure(part: NonInferiority, name: str) -> Figure:
    """The difference in mIoU and in every class's IoU, each with its 95 % interval."""
    title = "Accuracy: candidate minus baseline"
    known = [c for c in part.classes if c.difference is not None]
    lines = [("mIoU", part.difference_points), *((c.name, c.difference) for c in known)]
    with _axes(f"accuracy {name}", height=1.0 + 0.24 * len(lines)) as (figure, (axes,)):
        for place, (_, d) in enumerate(reversed(lines)):
            assert d is not None, "chosen above"
            colour = INK if place == len(lines) - 1 else MARGIN if d.high < 0 else B
            axes.plot([d.low, d.high], [place] * 2, color=colour, linewidth=2)
            axes.plot([d.estimate], [place], "o", color=colour, markersize=4)
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.axvline(-part.margin_points, color=MARGIN, linestyle="--")
        axes.set_yticks(range(len(lines)), [line for line, _ in reversed(lines)])
        axes.set_xlabel("points, 95 % interval; dashed: margin of the mIoU")
        svg = _themed(figure, title)
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
    head = ("class", "A, %", "B, %", "B - A", "95 % interval")
    return Figure(title, words, svg, head, (whole, *rows))


def _percent(value: float | None) -> str:
    return "left out" if value is None else f"{value:.2f}"


def curves_figure(runs: Sequence[RunPart]) -> Figure:
    """Figure 3 of the paper: every run's losses and mIoU over the iterations, side by side."""
    title = "Training curves"
    names = [name for name in _LABELS if any(name in run.curves for run in runs)]
    with _axes("curves", columns=len(names), height=2.8) as (figure, panels):
        for axes, name in zip(panels, names, strict=True):
            for run, colour in zip(runs, _RUN_COLOURS * len(runs), strict=False):
                if (curve := run.curves.get(name)) is not None:
                    axes.plot(curve.iterations, curve.values, color=colour, label=run.name,
                              linewidth=1.2, marker="." if name == "mIoU" else None)  # fmt: skip
            axes.set_title(_LABELS[name], fontsize=9)
            axes.set_xlabel("iteration")
        panels[0].legend()
        svg = _themed(figure, title)
    rows = tuple(
        (run.name, *(f"{run.curves[n].values[-1]:.4g}" if n in run.curves else "-" for n in names))
        for run in runs
    )
    words = "Losses are smoothed for drawing; the table holds the last values."
    return Figure(title, words, svg, ("run", *(_LABELS[name] for name in names)), rows)
