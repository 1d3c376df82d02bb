"""The table of `loss-cost` results; apart from the benchmark, so that making it needs no torch."""

from __future__ import annotations

import statistics
from typing import Any


def ratio(samples: list[dict[str, Any]], clock: str = "wall_s") -> float:
    """Median over repetitions of a row's time in that of the cross-entropy just before it."""
    return statistics.median(s["row"][clock] / s["cross_entropy"][clock] for s in samples)


def table(result: dict[str, Any]) -> list[str]:
    """Markdown lines: time and extra memory of every row, for every shape and number of threads."""
    runs = result["raw"]["runs"]
    heads = [f"{run['shape']}, {_threads(run['threads'])}" for run in runs]
    lines = [
        "| forward and backward: time / cross-entropy (extra score maps) | "
        + " | ".join(heads)
        + " |",
        "|---" * (len(runs) + 1) + "|",
    ]
    for name in dict.fromkeys(name for run in runs for name in run["samples"]):
        cells = [_cell(run, name) for run in runs]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _cell(run: dict[str, Any], name: str) -> str:
    if name not in run["samples"]:
        return "-"
    maps = run["extra_maps"][name]
    memory = "" if maps is None else f" ({maps:.2f})"
    return f"{ratio(run['samples'][name]):.2f}{memory}"
