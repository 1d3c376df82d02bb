"""The report for places outside a browser: a comment for a pull request, and a badge as SVG."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.sax.saxutils import escape

from artoolkit.evaluation.bootstrap import ClassChange
from artoolkit.evidence.verdict import Check, Verdict
from artoolkit.report.content import BundlePart, ReportContent

# The checks whose numbers a reviewer looks for.
NUMBERS = ("accuracy", "latency", "memory", "size")
# White on these has a contrast of 4.5 or more.
COLORS = {"PASS": "#1a7f37", "FAIL": "#b42318", "UNDECIDED": "#8a5a00", None: "#57606a"}


def as_markdown(content: ReportContent) -> str:
    """Each bundle's answer, numbers with intervals, classes that changed and machine; then runs.

    Every check with its details is folded away.
    """
    parts = [_bundle(part) for part in content.bundles]
    if content.runs:
        rows = [
            (_plain(run.name), "-" if run.last_miou is None else f"{run.last_miou:.2f}")
            for run in content.runs
        ]
        parts.append("### Training\n\n" + _table(("run", "last val mIoU, %"), rows))
    return "\n\n".join(parts) + "\n"


def _bundle(part: BundlePart) -> str:
    verdict = part.verdict
    if verdict is None:
        return f"### {_plain(part.name)}\n\nNo verdict yet."
    numbers = [check for check in verdict.checks if check.name in NUMBERS]
    where = verdict.environment
    device = ", ".join(verdict.environment.device.values())
    data = f", {part.dataset}" if part.dataset else ""
    blocks = [
        f"### {_plain(part.name)}: {verdict.result}",
        _plain(verdict.meaning),
        _table(("check", "answer", "what was found"), [_row(c, c.headline) for c in numbers]),
        *_classes(part.accuracy.classes if part.accuracy else ()),
        _plain(f"{where.processor}, {where.cores} cores{device and ', ' + device}{data}, "
               f"artoolkit {where.artoolkit}, {verdict.created[:10]}"),
        _details(verdict),
    ]  # fmt: skip
    return "\n\n".join(blocks)


def _classes(changes: Sequence[ClassChange]) -> list[str]:
    """A table of the classes whose whole interval lies on one side of 0."""
    rows = [
        (
            _plain(one.name),
            f"{one.baseline:.1f} -> {one.candidate:.1f}",
            f"{d.estimate:+.1f} ({d.low:+.1f} to {d.high:+.1f})",
        )
        for one in changes
        if (d := one.difference) is not None and (d.low > 0 or d.high < 0)
    ]
    if not rows:
        return ["No class changed beyond its interval."] if changes else []
    return [_table(("class that changed", "IoU, %", "points, 95 % interval"), rows)]


def _details(verdict: Verdict) -> str:
    rows = [_row(c, "; ".join((c.headline, *c.details))) for c in verdict.checks]
    table = _table(("check", "answer", "what was found"), rows)
    return f"<details><summary>All checks</summary>\n\n{table}\n\n</details>"


def _row(check: Check, found: str) -> tuple[str, str, str]:
    note = "" if check.required else " (not required)"
    return _plain(check.name) + note, check.result, _plain(found)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _plain(text: str) -> str:
    """Text that markdown shows as it is, in a cell too: no HTML, picture, link or code."""
    return re.sub(r"[\\`*\[\]<>|~&#]", lambda found: f"\\{found[0]}", " ".join(text.split()))


def as_badge(content: ReportContent) -> str:
    """An SVG of the first bundle's answer, with the change of mIoU where it is known."""
    part = next((one for one in content.bundles if one.verdict), None)
    result = part.verdict.result if part and part.verdict else None
    said: str = result or "no verdict"
    if part and part.accuracy:
        said += f", mIoU {part.accuracy.difference_points.estimate:+.2f}"
    label = "artoolkit"
    # DejaVu Sans at 11 px is about 7 px a letter; textLength makes any other font fit.
    left, right = 7 * len(label) + 10, 7 * len(said) + 10
    texts = "".join(
        f'<text x="{x + 5}" y="14" textLength="{width - 10}">{escape(words)}</text>'
        for x, width, words in ((0, left, label), (left, right, said))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img" '
        f'aria-label="{escape(label)}: {escape(said)}"><title>{escape(label)}: {escape(said)}'
        f'</title><rect width="{left}" height="20" fill="#24292f"/><rect x="{left}" '
        f'width="{right}" height="20" fill="{COLORS[result]}"/><g fill="#fff" '
        f'font-family="DejaVu Sans,Verdana,sans-serif" font-size="11">{texts}</g></svg>\n'
    )
