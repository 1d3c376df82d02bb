"""Rows of the page's tables, in words: the template only lays them out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from artoolkit.checks.latency import in_words
from artoolkit.checks.memory import mib
from artoolkit.report.content import AffinityRow, BundlePart, RunPart, SampleRow
from artoolkit.statistics import Interval

Row = tuple[str, ...]


def arms_of(part: BundlePart) -> tuple[str, str]:
    """Names of baseline and candidate: `fine-tuned` where the one was trained from the other."""
    training = part.manifest["provenance"].get("training") or {}
    return "baseline", "fine-tuned" if training.get("baseline") else "candidate"


def in_points(d: Interval) -> str:
    """`+0.45 points (-3.59 to +3.01)`."""
    return f"{d.estimate:+.2f} points ({d.low:+.2f} to {d.high:+.2f})"


class Card(NamedTuple):
    """A large figure: its name, value and interval in words, and the answer of its check."""

    name: str
    value: str
    words: str
    result: str


def cards(part: BundlePart) -> list[Card]:
    """Accuracy, latency, memory and program, those that were asked, as a glance takes them in."""
    checks = {check.name: check for check in part.verdict.checks} if part.verdict else {}
    values: dict[str, tuple[str, str]] = {}
    if part.accuracy:
        a, d = part.accuracy, part.accuracy.difference_points
        values["accuracy"] = (
            f"{a.baseline_miou:.1f} \N{RIGHTWARDS ARROW} {a.candidate_miou:.1f} %",
            f"mIoU {in_points(d)}, margin {a.margin_points:g}; {a.images} images",
        )
    if part.latency:
        found = part.latency.reading
        before, after = (f"{ms:.3g}" for ms in found.quick_ms)
        values["latency"] = (
            f"{before} \N{RIGHTWARDS ARROW} {after} ms",
            f"{in_words(found.quick)}, margin {found.quick.margin_percent:g} %",
        )
    if part.memory:
        pairs = part.memory.components.values()
        one, other = (sum(pair[i] for pair in pairs) for i in (0, 1))
        same = all(before == after for before, after in pairs)
        values["memory"] = (
            f"{mib(one)}" if same else f"{mib(one)} \N{RIGHTWARDS ARROW} {mib(other)}",
            "equal to the byte, component by component" if same else f"{other - one:+,} bytes",
        )
    if "graph" in checks:
        words = {"PASS": "the same", "FAIL": "another"}
        values["graph"] = (
            words.get(checks["graph"].result, "not compared"), checks["graph"].headline
        )  # fmt: skip
    names = {"graph": "program"}
    return [
        Card(names.get(name, name), *values[name], checks[name].result if name in checks else "")
        for name in ("accuracy", "latency", "memory", "graph")
        if name in values
    ]


def facts(part: BundlePart) -> list[Row]:
    """Who was judged against whom, on what, where and when."""
    target, verdict = part.manifest["target"], part.verdict
    height, width = target["imgsz"]
    rows: list[Row] = [
        ("network", f"{part.manifest['network']}, {part.manifest['num_classes']} classes"),
        ("target", f"{target['name']}, {target['precision']}, {height} x {width}"),
    ]
    if verdict is not None:
        where = verdict.environment
        rows += [
            ("machine", f"{where.processor}, {where.cores} cores"),
            ("when", verdict.created[:16].replace("T", " ")),
        ]
    if part.dataset:
        rows.append(("data", part.dataset))
    return rows


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
