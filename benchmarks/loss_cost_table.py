"""The table of `loss-cost` results."""

from __future__ import annotations

from typing import Any

from side_by_side import Seconds, ratio, spread_percent

CROSS_ENTROPY = "cross-entropy"


def table(result: dict[str, Any]) -> list[str]:
    """Markdown lines: time and extra memory of every row, for every shape and number of threads.

    Cross-entropy beside itself comes first: it should be 1, and says how exact the rest is.
    """
    runs = result["raw"]["runs"]
    heads = [f"{run['shape']}, {_threads(run['threads'])}" for run in runs]
    lines = [
        "| forward and backward: time / cross-entropy (extra score maps) | "
        + " | ".join(heads)
        + " |",
        "|---" * (len(runs) + 1) + "|",
    ]
    names = dict.fromkeys(name for run in runs for name in run["samples"])
    for name in sorted(names, key=lambda name: (name != CROSS_ENTROPY, name)):
        cells = [_cell(run, name) for run in runs]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def seconds(samples: list[dict[str, Any]], clock: str = "wall_s") -> Seconds:
    """A row's time and that of the cross-entropy just before it, a value a repetition."""
    return {
        "case": [sample["row"][clock] for sample in samples],
        "reference": [sample["cross_entropy"][clock] for sample in samples],
    }


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _cell(run: dict[str, Any], name: str) -> str:
    if name not in run["samples"]:
        return "-"
    maps, found = run["extra_maps"][name], seconds(run["samples"][name])
    memory = "" if maps is None else f" ({maps:.2f})"
    return f"{ratio(found):.2f} ± {spread_percent(found):.0f} %{memory}"
