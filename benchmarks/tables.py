"""Makes the tables of README.md from the result files, between marks that name them.

python benchmarks/tables.py            write them
python benchmarks/tables.py --check    exit 1 where README.md differs
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from camvid_networks import table
from result_file import RESULTS

README = Path(__file__).parent.parent / "README.md"
MARK = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def read(suite: str) -> list[dict[str, Any]]:
    """The result files of a suite, by name."""
    return [json.loads(p.read_text()) for p in sorted(RESULTS.glob(f"{suite}--*.json"))]


def camvid() -> list[str]:
    """Last epoch of every arm, and the checks of the bundle."""
    (result,) = read("camvid")
    raw = result["raw"]
    lines = ["| arm | epochs | AR weight | val mIoU (%) |", "|---|---|---|---|"]
    weights = {"baseline": "-", "control": "0", "ar": raw_weight(result)}
    for arm in weights:
        last = [row for row in raw["training"][arm] if row["kind"] == "epoch"][-1]
        lines.append(f"| {arm} | {last['epoch']} | {weights[arm]} | {last['mIoU']:.2f} |")
    lines += ["", "| check | answer | what was found |", "|---|---|---|"]
    for check in raw["evidence"]["verdict"]["checks"]:
        lines.append(f"| {check['name']} | {check['result']} | {check['summary']} |")
    return lines


def raw_weight(result: dict[str, Any]) -> str:
    """`20 (grid all)`, from the arguments that were used."""
    given = dict(zip(result["settings"]["ar"][::2], result["settings"]["ar"][1::2], strict=True))
    return f"{given['--ar-weight']} (grid {given['--ar-grid']})"


def networks() -> list[str]:
    """Parameters, multiply-adds and the latency ratio of every built-in network."""
    (result,) = read("networks")
    height, width = result["settings"]["imgsz"]
    macs_at = "{} x {}".format(*result["settings"]["macs_at"])
    latency = f"latency / icnet, {height} x {width}"
    lines = [
        f"| network | parameters (M) | GMAC at {macs_at} | scores at | {latency} |",
        "|---|---|---|---|---|",
    ]
    for name, row in sorted(result["raw"].items(), key=lambda item: int(item[1]["macs"])):
        costs = f"{row['parameters'] / 1e6:.2f} | {row['macs'] / 1e9:.1f} | 1/{row['stride']}"
        lines.append(f"| `{name}` | {costs} | {row['ratio']:.1f} |")
    return lines


def camvid_networks() -> list[str]:
    """First and last epoch of every network that was trained from scratch by one command."""
    (result,) = read("camvid-networks")
    return table(result["raw"])


TABLES: dict[str, Callable[[], list[str]]] = {
    "camvid": camvid,
    "networks": networks,
    "camvid-networks": camvid_networks,
}


def rendered(text: str) -> str:
    """`text` with every marked table made anew."""
    return MARK.sub(lambda m: m[1] + "\n".join(TABLES[m[2]]()) + "\n" + m[3], text)


@click.command()
@click.option("--check", is_flag=True, help="Only say whether README.md is up to date.")
def main(*, check: bool) -> None:
    """Write the tables of README.md from benchmarks/results."""
    text = README.read_text()
    fresh = rendered(text)
    if check:
        raise SystemExit(int(fresh != text))
    README.write_text(fresh)


if __name__ == "__main__":
    main()
