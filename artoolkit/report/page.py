"""The report as one HTML file that needs no network."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artoolkit.evidence.records import header
from artoolkit.optional import require
from artoolkit.report.content import BundlePart, ReportContent
from artoolkit.report.curves import is_run, run_part
from artoolkit.report.evidence import bundle_part
from artoolkit.report.figures import (
    Figure,
    accuracy_figure,
    curves_figure,
    latency_figure,
    memory_figure,
)
from artoolkit.report.tables import (
    affinity_rows,
    arms_of,
    cards,
    chain_rows,
    class_colors,
    facts,
    share_rows,
    trend_rows,
)

if TYPE_CHECKING:
    from artoolkit.data import DataSet


def gather(
    paths: Sequence[Path], *, dataset: DataSet | None = None, split: str = "val", images: int = 3
) -> ReportContent:
    """The content for bundles and runs, told apart by their files.

    Raises `BundleError` or `DataError` for a folder that is neither, or was changed.
    """
    bundles = [path for path in paths if not is_run(path)]
    return ReportContent(
        **header(ReportContent),
        bundles=tuple(
            bundle_part(path, dataset=dataset, split=split, images=images) for path in bundles
        ),
        runs=tuple(run_part(path) for path in paths if is_run(path)),
    )


def _figures(part: BundlePart) -> list[Figure]:
    figures, arms = [], arms_of(part)
    if part.accuracy:
        figures.append(accuracy_figure(part.accuracy, part.name, arms))
    if part.latency:
        figures.append(latency_figure(part.latency, part.name, arms))
    if part.memory:
        figures.append(memory_figure(part.memory, part.name, arms))
    return figures


def title(content: ReportContent) -> str:
    """`icnet (bundle): PASS` and the like; `artoolkit report` where there is no verdict."""
    answers = [
        f"{part.manifest['network']} ({part.name}): {part.verdict.result}"
        for part in content.bundles
        if part.verdict
    ]
    return ", ".join(answers) or "artoolkit report"


def _attached(value: dict[str, Any] | str) -> str:
    """A data URI to save: JSON without the hashes of single tensors, or text as it is."""
    if isinstance(value, dict):
        shown = {key: item for key, item in value.items() if key != "parts"}
        value = json.dumps(shown, indent=1, sort_keys=True, ensure_ascii=False)
    return f"data:text/plain;base64,{base64.b64encode(value.encode()).decode()}"


def as_html(content: ReportContent) -> str:
    """One self-contained page: styles, figures and pictures inside, no script, no request."""
    jinja2 = require("jinja2", "the HTML report")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    values: dict[str, Any] = {
        "title": title(content),
        "content": content,
        "bundles": [(part, _figures(part)) for part in content.bundles],
        "curves": curves_figure(content.runs) if content.runs else None,
        "trends": trend_rows(content.runs),
        "classes": class_colors,
        "shares": share_rows,
        "affinities": affinity_rows,
        "chain": chain_rows,
        "attached": _attached,
        "cards": cards,
        "arms": arms_of,
        "facts": facts,
    }
    html: str = environment.get_template("report.html.j2").render(values)
    return html
