"""Rows of the page's tables, in words: the template only lays them out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from artoolkit.report.content import AffinityRow, BundlePart, RunPart, SampleRow

Row = tuple[str, ...]


def chain_rows(part: BundlePart) -> list[Row]:
    """Every link from the checkpoint to the verdict, with its sha256."""
    manifest, verdict = part.manifest, part.verdict
    origin = manifest["provenance"]
    links = [
        ("checkpoint", origin.get("checkpoint")),
        *((name, sha256) for name, sha256 in manifest["files"].items()),
        ("manifest", manifest["sha256"]),
        ("manifest of the baseline", manifest["baseline"]),
        ("labels and file names of the data", part.fingerprint),
    ]
    if verdict is not None:
        links += [*verdict.measurements.items(), ("verdict.json", verdict.sha256())]
    links += [(f"engine {name}", sha256) for name, sha256 in part.engines.items()]
    links += [("commit of artoolkit", origin.get("commit"))]
    return [(name, str(sha256)) for name, sha256 in links if sha256]


def share_rows(row: SampleRow) -> list[Row]:
    """Percent of an image's pixels by class: ground truth, baseline, candidate."""
    return [
        (one.name, *("-" if v is None else f"{v:.1f}" for v in (one.truth, one.baseline)),
         f"{one.candidate:.1f}")
        for one in row.classes
    ]  # fmt: skip


def affinity_rows(row: AffinityRow) -> list[Row]:
    """Mean affinity of pairs of one class and of two classes, and the error, for each map."""
    return [
        (name, f"{row.same[name]:.4f}", f"{row.other[name]:.4f}",
         f"{row.losses[name]:.4f}" if name in row.losses else "-")
        for name in row.maps
    ]  # fmt: skip


def trend_rows(runs: Sequence[RunPart]) -> list[Row]:
    """Table 2 of the paper: slope, standard error, t, p, and both intervals, for each run."""
    return [
        (
            run.name, f"{trend.slope:.5f}", f"{trend.standard_error:.5f}", f"{trend.t:.2f}",
            f"{trend.p:.2g}", f"{trend.ordinary.low:.5f} to {trend.ordinary.high:.5f}",
            f"{trend.blocks.low:.5f} to {trend.blocks.high:.5f}",
        )
        for run in runs if (trend := run.trend)
    ]  # fmt: skip


def class_colours(part: BundlePart) -> list[dict[str, Any]]:
    """Name and RGB colour of each class that a picture of the part shows."""
    seen = {one.name for row in part.samples for one in row.classes}
    table = part.manifest["labels"]
    return [
        {"name": name, "color": f"rgb({', '.join(map(str, color))})"}
        for name, color in zip(table["names"], table["colors"], strict=True)
        if name in seen
    ]
