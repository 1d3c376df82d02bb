"""The tables of `camvid` results: the last epoch of every arm, and the checks of the bundle."""

from __future__ import annotations

from typing import Any


def table(result: dict[str, Any]) -> list[str]:
    """Markdown: epochs, weight and mIoU of every arm."""
    lines = ["| arm | epochs | AR weight | val mIoU (%) |", "|---|---|---|---|"]
    weights = {"baseline": "-", "control": "0", "ar": weight(result)}
    for arm, shown in weights.items():
        last = [row for row in result["raw"]["training"][arm] if row["kind"] == "epoch"][-1]
        lines.append(f"| {arm} | {last['epoch']} | {shown} | {last['mIoU']:.2f} |")
    return lines


def verdict(result: dict[str, Any]) -> list[str]:
    """Markdown: every check with its answer."""
    lines = ["| check | answer | result |", "|---|---|---|"]
    for check in result["raw"]["evidence"]["verdict"]["checks"]:
        # A verdict of version 1 called the program a plan and had one text, which also named the
        # changes that made a CPU's graph plain again; a later one has a headline and details.
        found = check.get("summary") or "; ".join([check["headline"], *check["details"]])
        found = found.partition("; as a GPU is given it")[0]
        name = check["name"].replace("plan", "program")
        lines.append(f"| {name} | {check['result']} | {found} |")
    return lines


def weight(result: dict[str, Any]) -> str:
    """`20 (grid all)`, from the arguments that were used."""
    given = dict(zip(result["settings"]["ar"][::2], result["settings"]["ar"][1::2], strict=True))
    return f"{given['--ar-weight']} (grid {given['--ar-grid']})"
