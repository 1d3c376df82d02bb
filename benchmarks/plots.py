"""The plots of docs/, from the raw values of result files: SVG that follows light and dark.

Every plot carries the numbers that it shows in its description: for those who do not see it, and
for `tables.py --check`, since matplotlib's drawing differs from version to version.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Any

import matplotlib as mpl
from image_size import REFERENCE as AT
from image_size import lines_of, points
from intel_cpu import USERS
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator
from networks import SIZES, case_name, counted, published_miou
from side_by_side import REFERENCE, ratio, words
from suite import is_measured

from artoolkit.report.figures import svg_element

# Marks that no drawing has by chance, each replaced by a colour of the page.
INK, LINE, A, B = "#010101", "#020202", "#030303", "#040404"
_COLOURS = {INK: "--ink", LINE: "--line", A: "--a", B: "--b"}
# A background of its own: a page may be dark where the reader's system is light.
_STYLE = """<style>
:root { --paper: #ffffff; --ink: #24292f; --line: #d0d7de; --a: #0550ae; --b: #bc4c00 }
@media (prefers-color-scheme: dark) {
  :root { --paper: #161b22; --ink: #e6edf3; --line: #444c56; --a: #79c0ff; --b: #ffa657 }
}
</style>
<rect width="100%" height="100%" style="fill: var(--paper)"/>
"""
_RC: Any = {
    "svg.fonttype": "none", "svg.hashsalt": "artoolkit", "font.family": "sans-serif",
    "font.size": 9, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": LINE,
    "xtick.color": INK, "ytick.color": INK, "grid.color": LINE, "axes.grid": True,
    "grid.linewidth": 0.5, "axes.spines.top": False, "axes.spines.right": False,
    "legend.frameon": False, "axes.axisbelow": True, "axes.titlesize": 9,
    "axes.titlelocation": "left", "figure.facecolor": "none", "axes.facecolor": "none",
}  # fmt: skip
# Batch above 1 or not, colour, marker and legend.
SERIES = ((False, A, "o", "batch 1"), (True, B, "s", "256 x 512, batch 2 and 4"))


def image_size_plot(raw: dict[str, Any]) -> str:
    """Time (logarithmic axes) and memory (linear ones) against pixels, with the fitted lines."""
    found = points(raw)
    with mpl.rc_context(_RC):
        figure = Figure(figsize=(8.0, 3.2), layout="constrained")
        panels = figure.subplots(1, 2)
        for axes, line, title, cost in (
            (panels[0], lines_of(found)[0], f"time / {words(AT)}", "time"),
            (panels[1], lines_of(found)[1], "memory of the process, MiB", "mib"),
        ):
            single = [point for point in found if point.batch == 1]
            pixels = [point.pixels / 1e6 for point in single]
            fit = [line.fixed + line.slope * point.pixels for point in single]
            axes.plot(pixels, fit, color=LINE, linewidth=2, label="fixed + proportional")
            for several, colour, mark, label in SERIES:
                chosen = [point for point in found if (point.batch > 1) == several]
                costs = [getattr(point, cost) for point in chosen]
                axes.plot([point.pixels / 1e6 for point in chosen], costs, mark, color=colour,
                          markersize=5, label=label)  # fmt: skip
            axes.set_xlabel("million pixels (batch x height x width)")
            axes.set_title(title)
        _logarithmic(panels[0])
        panels[1].set_ylim(bottom=0)
        panels[0].legend(loc="upper left")
        numbers = [f"{words(p.size)} batch {p.batch}: {p.time:.3f}, {p.mib:.0f} MiB" for p in found]
        return _svg(figure, "Time and memory against image size", numbers)


def _logarithmic(axes: Axes) -> None:
    """Both axes, a power of two between ticks: what is proportional to pixels goes one for one."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    ticks = [0.0625, 0.125, 0.25, 0.5, 1, 2, 4, 8]
    axes.set_xticks(ticks[1:])
    axes.set_yticks(ticks[:-1])
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())


def accuracy_plot(trained: dict[str, Any], timed: dict[str, Any]) -> str:
    """Validation mIoU of the last epoch against latency, for networks that have both."""
    size = words(SIZES[0])
    rows = {name: timed.get(case_name(name, "fp32", SIZES[0])) for name in trained}
    both = {name: (ratio(row["seconds"]), _last_miou(trained[name]))
            for name, row in rows.items() if is_measured(row)}  # fmt: skip
    with mpl.rc_context(_RC):
        figure = Figure(figsize=(5.6, 3.4), layout="constrained")
        axes = figure.subplots()
        for name, (latency, miou) in both.items():
            axes.plot([latency], [miou], "o", color=A, markersize=6)
            axes.annotate(name, (latency, miou), xytext=(6, 5), textcoords="offset points")
        axes.margins(y=0.25)
        axes.set_xlim(0, 1.4 * max(latency for latency, _ in both.values()))
        axes.set_xlabel(f"latency / {REFERENCE}, {size}, ONNX Runtime, fp32")
        axes.set_ylabel("CamVid val mIoU (%)")
        epochs = sorted({_epochs(trained[name]) for name in both})
        length = " or ".join(map(str, epochs))
        axes.set_title(
            f"After {length} epochs from scratch on small crops, one seed:\n"
            "what a short run gives, not what a network can reach"
        )
        numbers = [f"{name}: {latency:.2f}, {miou:.2f} %" for name, (latency, miou) in both.items()]
        return _svg(figure, "Accuracy against latency", numbers)


def intel_cpu_plot(raw: dict[str, Any]) -> str:
    """Times as fast as ONNX Runtime in float32 in the same run, case by case."""
    cases = {name: row["seconds"] for name, row in raw.items() if "seconds" in row}
    bars = [(f"{name}: {form}", 1 / ratio(seconds, form, USERS))
            for name, seconds in cases.items() for form in seconds if form != USERS]  # fmt: skip
    with mpl.rc_context(_RC):
        figure = Figure(figsize=(7.2, 0.6 + 0.2 * len(bars)), layout="constrained")
        axes = figure.subplots()
        places = range(len(bars), 0, -1)
        axes.barh(places, [speed for _, speed in bars], color=A, height=0.7)
        axes.set_yticks(places, [name for name, _ in bars])
        axes.axvline(1, color=B)
        axes.set_xlabel("times as fast as ONNX Runtime fp32")
        return _svg(figure, "OpenVINO beside what users run",
                    [f"{name}: {speed:.2f}" for name, speed in bars])  # fmt: skip


def published_plot(_raw: dict[str, Any]) -> str:
    """Published mIoU on Cityscapes val against multiply-adds (logarithmic)."""
    stated = {cost.network: (cost.macs / 1e9, published_miou(cost.network))
              for cost in counted()}  # fmt: skip
    both = {name: (giga, miou) for name, (giga, miou) in stated.items() if miou is not None}
    with mpl.rc_context(_RC):
        figure = Figure(figsize=(7.2, 4.2), layout="constrained")
        axes = figure.subplots()
        for name, (giga, miou) in both.items():
            axes.plot([giga], [miou], "o", color=A, markersize=5)
            axes.annotate(name, (giga, miou), xytext=(5, 4), textcoords="offset points")
        axes.set_xscale("log")
        axes.set_xlim(5, 6000)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xlabel("GMAC at 1024 x 2048, as deployed")
        axes.set_ylabel("mIoU (%), Cityscapes val, single scale")
        axes.set_title("What the publishers of the weights state; nothing of it was measured here")
        numbers = [f"{name}: {giga:.1f}, {miou:.2f} %" for name, (giga, miou) in both.items()]
        return _svg(figure, "Published accuracy against multiply-adds", numbers)


def _last_miou(run: dict[str, Any]) -> float:
    return float([row["mIoU"] for row in run["rows"] if "mIoU" in row][-1])


def _epochs(run: dict[str, Any]) -> int:
    return int(max(row["epoch"] for row in run["rows"]))


def _svg(figure: Figure, title: str, numbers: Sequence[str]) -> str:
    """The drawing with its title, its numbers and the colours of the page."""
    head, rest = svg_element(figure, _COLOURS)
    told = f"<title>{escape(title)}</title>\n<desc>{escape('; '.join(numbers))}</desc>\n"
    lines = (line.rstrip() for line in f"{head}>\n{told}{_STYLE}{rest}".splitlines())
    return "\n".join(lines) + "\n"


def description(svg: str) -> str:
    """The numbers that a plot shows; empty for a drawing of somebody else."""
    found = re.search(r"<desc>(.*?)</desc>", svg, re.DOTALL)
    return found[1] if found else ""
