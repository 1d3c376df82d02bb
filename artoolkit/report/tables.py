"""Rows of the page's tables, in words: the template only lays them out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from artoolkit.report.content import AffinityRow, BundlePart, RunPart, SampleRow
from artoolkit.statistics import Interval

Row = tuple[str, ...]


def chain_rows(part: BundlePart) -> list[Row]:
    """Every link from the checkpoint to the verdict, with its sha256."""
    manifest, verdict = part.manifest, part.verdict
    origin = manifest["provenance"]
    training = origin.get("training") or {}
    links = [
        *(
            (f"images and labels: {role}", found["sha256"])
            for role, found in training.get("data", {}).items()
        ),
        ("checkpoint that was fine-tuned", training.get("baseline", {}).get("sha256")),
        ("checkpoint", origin.get("checkpoint")),
        *((name, sha256) for name, sha256 in manifest["files"].items()),
        ("manifest", manifest["sha256"]),
        ("manifest of the baseline", manifest["baseline"]),
        ("labels that accuracy was judged on", part.fingerprint),
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
    """Table 2 of the paper, a column a run that has a trend: the head comes first."""
    trends = {run.name: run.trend for run in runs if run.trend}
    known = list(trends.values())
    if not known:
        return []
    return [
        ("", *trends),
        ("slope", *(f"{trend.slope:.5f}" for trend in known)),
        ("standard error", *(f"{trend.standard_error:.5f}" for trend in known)),
        ("t", *(f"{trend.t:.2f}" for trend in known)),
        ("p", *(f"{trend.p:.2g}" for trend in known)),
        ("95 % interval", *(_interval(trend.ordinary) for trend in known)),
        ("95 % interval by block bootstrap", *(_interval(trend.blocks) for trend in known)),
        ("correlation of successive iterations", *(f"{t.autocorrelation:.2f}" for t in known)),
        ("iterations in a block", *(str(trend.block_length) for trend in known)),
    ]


def _interval(interval: Interval) -> str:
    return f"{interval.low:.5f} to {interval.high:.5f}"


def class_colors(part: BundlePart) -> list[dict[str, Any]]:
    """Name and RGB color of each class that a picture of the part shows."""
    seen = {one.name for row in part.samples for one in row.classes}
    table = part.manifest["labels"]
    return [
        {"name": name, "color": f"rgb({', '.join(map(str, color))})"}
        for name, color in zip(table["names"], table["colors"], strict=True)
        if name in seen
    ]
