"""Makes the tables of README.md, docs/ and calibration.md, and the plots, from the result files.

    python benchmarks/tables.py            write them
    python benchmarks/tables.py --check    exit 1 where a page or a plot differs

A table stands between `<!-- table: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import result_file
from suite import UNAVAILABLE

from artoolkit.evaluation.experiment import read_rows
from artoolkit.evidence.seal import write_atomically

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
# Plots show one machine, tables all of them.
PLOTTED = "x86-2core"
MARK = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


@dataclass(frozen=True)
class Table:
    """Source of a table: a suite's result files, and `module.table` of their raw values.

    `whole`: it is given the whole result, since settings are shown too. `function`: where a module
    makes several tables.
    """

    suite: str
    module: str
    whole: bool = False
    function: str = "table"

    def lines(self) -> list[str]:
        """Markdown of every result file of the suite; `click.UsageError` where there is none."""
        results = read(self.suite)
        if not results:
            raise click.UsageError(
                f"a page has a table of {self.suite}, which was not measured; "
                f"measure it (python benchmarks/suites.py {self.suite}) or take the mark out"
            )
        made = [(result, self.of(result)) for result in results]
        if len(made) == 1:
            return made[0][1]
        heads = [f"{result['machine']}, {result['device']}:" for result, _ in made]
        parts = [[head, "", *lines, ""] for head, (_, lines) in zip(heads, made, strict=True)]
        return [line for part in parts for line in part][:-1]

    def measured(self) -> bool:
        return bool(read(self.suite))

    def of(self, result: dict[str, Any]) -> list[str]:
        """Markdown of one result file."""
        module = importlib.import_module(self.module)
        make: Callable[[dict[str, Any]], list[str]] = getattr(module, self.function)
        return make(result if self.whole else result["raw"])


@dataclass(frozen=True)
class RowsTable:
    """`module.table` of the rows in a file of results that is written run by run."""

    file: str
    module: str

    def lines(self) -> list[str]:
        """Markdown; `DataError` for a line that is no row."""
        made: list[str] = importlib.import_module(self.module).table(self._rows())
        return made

    def measured(self) -> bool:
        return bool(self._rows())

    def _rows(self) -> list[dict[str, Any]]:
        return read_rows(result_file.RESULTS / self.file)


TABLES: dict[str, Table | RowsTable] = {
    "demo": Table("demo", "demo", function="counts"),
    "demo-verdict": Table("demo", "demo", function="verdict"),
    "camvid": Table("camvid", "camvid_table", whole=True),
    "camvid-lite0": Table("camvid-lite0", "camvid_table", whole=True),
    "camvid-verdict": Table("camvid-lite0", "camvid_table", whole=True, function="verdict"),
    "camvid-baseline": Table("camvid-lite0", "camvid_table", whole=True, function="curve"),
    "networks": Table("networks", "networks"),
    "programs": Table("programs", "programs"),
    "engines": Table("engines", "engines"),
    "installs": Table("installs", "installs"),
    "camvid-networks": Table("camvid-networks", "camvid_networks"),
    "latency": Table("latency", "latency"),
    "image-size": Table("image-size", "image_size"),
    "training-step": Table("training-step", "training_step"),
    "cpu-parts": Table("cpu-parts", "cpu_parts"),
    "peers": Table("peers", "peers"),
    "int8-camvid": Table("int8-camvid", "int8"),
    "intel-cpu": Table("intel-cpu", "intel_cpu"),
    "evaluation": Table("evaluation", "evaluation"),
    "data-check": Table("data-check", "data_check"),
    "startup": Table("startup", "startup"),
    "loss-cost": Table("loss-cost", "loss_cost_table", whole=True),
    "fuzz": Table("fuzz", "fuzz_table"),
    "loss-cost-teacher": Table("loss-cost-teacher", "loss_cost_table", whole=True),
    "experiment-pretrained": RowsTable("experiment-camvid-pretrained.jsonl", "experiment_table"),
    "experiment": RowsTable("experiment-camvid-half.jsonl", "experiment_table"),
    "crashes": Table("crashes", "crash_points"),
    "calibration": Table("calibration-timings", "calibration", whole=True),
    "calibration-latency": Table(
        "calibration-latency", "calibration", function="simulated_latency"
    ),
    "calibration-accuracy": Table(
        "calibration-accuracy", "calibration", function="simulated_accuracy_table"
    ),
    "calibration-timings": Table(
        "calibration-timings", "calibration", whole=True, function="real_latency"
    ),
}


@dataclass(frozen=True)
class Plot:
    """An SVG in docs/, and `plots.function(raw, ...)` of these suites."""

    file: str
    suites: tuple[str, ...]
    function: str

    def svg(self) -> str | None:
        """The drawing, None where a suite was not measured on `PLOTTED`."""
        results = [
            result for s in self.suites for result in read(s) if result["machine"] == PLOTTED
        ]
        if len(results) < len(self.suites):
            return None
        import plots

        drawn: str = getattr(plots, self.function)(*(result["raw"] for result in results))
        return drawn


PLOTS = (
    Plot("image-size.svg", ("image-size",), "image_size_plot"),
    Plot("intel-cpu.svg", ("intel-cpu",), "intel_cpu_plot"),
    Plot("published.svg", ("networks",), "published_plot"),
    Plot("accuracy-latency.svg", ("camvid-networks", "networks"), "accuracy_plot"),
)


def read(suite: str) -> list[dict[str, Any]]:
    """The result files of a suite, by name; one in which nothing could be measured is none."""
    paths = sorted(result_file.RESULTS.glob(f"{suite}--*.json"))
    results = [json.loads(path.read_text()) for path in paths]
    return [
        result
        for result in results
        if not all(isinstance(v, dict) and UNAVAILABLE in v for v in result["raw"].values())
    ]


def pages() -> list[Path]:
    """Every page that may hold a table."""
    return [ROOT / "README.md", *sorted(DOCS.glob("*.md")), ROOT / "benchmarks" / "calibration.md"]


def marks(text: str) -> list[str]:
    """Names of the tables in a page."""
    return [found[2] for found in MARK.finditer(text)]


def rendered(text: str) -> str:
    """`text` with every marked table made anew; `click.UsageError` for an unknown name."""

    def made(found: re.Match[str]) -> str:
        if found[2] not in TABLES:
            raise click.UsageError(f"no table is called {found[2]}; known: {', '.join(TABLES)}")
        return found[1] + "\n".join(TABLES[found[2]].lines()) + "\n" + found[3]

    return MARK.sub(made, text)


def stale() -> list[Path]:
    """Pages and plots that do not show what the result files say."""
    from plots import description

    found = [page for page in pages() if rendered(page.read_text()) != page.read_text()]
    for plot in PLOTS:
        drawn, path = plot.svg(), DOCS / plot.file
        shown = path.read_text() if path.exists() else ""
        if drawn is not None and description(drawn) != description(shown):
            found.append(path)
    return found


def write() -> list[Path]:
    """Make all that is stale anew; returns what was written."""
    changed = stale()
    drawn = {DOCS / plot.file: plot.svg() for plot in PLOTS}
    for path in changed:
        text = drawn.get(path) or rendered(path.read_text())
        write_atomically(path, text.encode())
    return changed


@click.command()
@click.option("--check", is_flag=True, help="Only say what is not up to date; exit 1 if anything.")
def main(*, check: bool) -> None:
    """Write the tables and plots from benchmarks/results."""
    changed = stale() if check else write()
    for path in changed:
        click.echo(path.relative_to(ROOT))
    raise SystemExit(int(check and bool(changed)))


if __name__ == "__main__":
    main()
