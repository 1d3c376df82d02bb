"""Tables of a result of `camvid.py`: the arms' last epochs, the baseline's curve, the checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def table(result: dict[str, Any]) -> list[str]:
    """Markdown: epochs, weight and mIoU of every arm."""
    lines = ["| arm | epochs | AR weight | val mIoU (%) |", "|---|---|---|---|"]
    weights = {"baseline": "-", "control": "0", "ar": weight(result)}
    for arm, shown in weights.items():
        last = [row for row in result["raw"]["training"][arm] if row["kind"] == "epoch"][-1]
        lines.append(f"| {arm} | {last['epoch']} | {shown} | {last['mIoU']:.2f} |")
    return lines


def curve(result: dict[str, Any]) -> list[str]:
    """Markdown: the baseline's mIoU and the IoU of every class, at each evaluation."""
    judged = [row for row in result["raw"]["training"]["baseline"] if "mIoU" in row]
    names = [name for name in judged[-1] if name.startswith("IoU.")]
    lines = ["| epoch | " + " | ".join(str(row["epoch"]) for row in judged) + " |"]
    lines += ["|---|" + "---|" * len(judged)]
    for name in ("mIoU", *names):
        cells = " | ".join(f"{row[name]:.2f}" for row in judged)
        lines.append(f"| {name.removeprefix('IoU.')} | {cells} |")
    return lines


def verdict(result: dict[str, Any]) -> list[str]:
    """Markdown: every check of the bundle with its answer."""
    return checks_table(result["raw"]["evidence"]["verdict"]["checks"])


def checks_table(checks: Sequence[dict[str, Any]]) -> list[str]:
    """Markdown: name, answer and headline of every check of a verdict."""
    rows = [f"| {check['name']} | {check['result']} | {check['headline']} |" for check in checks]
    return ["| check | answer | result |", "|---|---|---|", *rows]


def weight(result: dict[str, Any]) -> str:
    """`20 (grid all)`, from the arguments that were used."""
    given = dict(zip(result["settings"]["ar"][::2], result["settings"]["ar"][1::2], strict=True))
    return f"{given['--ar-weight']} (grid {given['--ar-grid']})"
