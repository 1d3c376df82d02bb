"""A training run as a part of the report: its curves, thinned, and the trend of its AR loss."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from artoolkit.errors import DataError
from artoolkit.files import read_json_lines, reading
from artoolkit.report.ar_curve import smoothed, trend
from artoolkit.report.content import Curve, RunPart
from artoolkit.training.history import METRICS, ROW_FIELDS

RECIPE = "recipe.toml"
AR = "affinity_regression"
# More points than this cannot be told apart on a page.
MOST_POINTS = 300


def is_run(path: Path) -> bool:
    return (path / METRICS).is_file()


def thinned(iterations: Sequence[float], values: Sequence[float]) -> Curve:
    """At most `MOST_POINTS` points of the curve, smoothed as wide as they lie apart."""
    step = max(1, len(values) // MOST_POINTS)
    places = range(0, len(values), step)
    even = smoothed(values, 2 * step + 1 if step > 1 else 1)
    return Curve(
        iterations=tuple(float(iterations[place]) for place in places),
        values=tuple(float(even[place]) for place in places),
    )


def run_part(path: Path) -> RunPart:
    """The run in the folder `path`; `DataError` if its metrics cannot be read or are empty."""
    rows = read_json_lines(path / METRICS, DataError)
    with reading(path / METRICS, DataError):
        return _run_part(path, rows)


def _run_part(path: Path, rows: Sequence[dict[str, Any]]) -> RunPart:
    steps = [row for row in rows if row.get("kind") == "iteration"]
    epochs = [row for row in rows if row.get("kind") == "epoch" and row.get("mIoU") is not None]
    if not steps:
        raise DataError(f"{path / METRICS} holds no iteration", hint="Train first.")
    times = [float(row["iteration"]) for row in steps]
    terms = [name for name in steps[0] if name not in ROW_FIELDS]
    curves = {
        name: thinned(times, [float(row[name]) for row in steps])
        for name in terms
        if all(name in row for row in steps)
    }
    if epochs:
        last = {int(row["epoch"]): float(row["iteration"]) for row in steps}
        known = [row for row in epochs if int(row["epoch"]) in last]
        if not known:
            raise DataError(f"{path / METRICS} evaluates epochs that it does not hold")
        curves["mIoU"] = Curve(
            iterations=tuple(last[int(row["epoch"])] for row in known),
            values=tuple(float(row["mIoU"]) for row in known),
        )
    recipe = path / RECIPE
    return RunPart(
        name=path.resolve().name,
        start=next((row for row in rows if row.get("kind") == "start"), {}),
        curves=curves,
        last_miou=float(epochs[-1]["mIoU"]) if epochs else None,
        trend=trend(times, [float(row[AR]) for row in steps]) if AR in curves else None,
        recipe=recipe.read_text(encoding="utf-8") if recipe.is_file() else "",
    )
