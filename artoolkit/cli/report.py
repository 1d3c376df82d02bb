"""`artoolkit report`: runs and bundles as one HTML page that people can pass on."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from artoolkit.cli.options import dataset_options, open_data, out_option
from artoolkit.errors import BundleError, UsageError

if TYPE_CHECKING:
    from artoolkit.report.content import ReportContent


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@dataset_options()
@click.option("--split", default="val", show_default=True, help="Split that images are from.")
@click.option(
    "--images", type=click.IntRange(min=0), default=3, show_default=True, help="Pictured images."
)
@out_option(help_text="The HTML file.")
@click.option("--json", "json_out", type=click.Path(path_type=Path), help="Write the content too.")
@click.option(
    "--markdown", type=click.Path(path_type=Path), help="Write tables for a pull request too."
)
def command(
    *,
    paths: tuple[Path, ...],
    dataset: str | None,
    data_root: Path | None,
    classes: Path | None,
    split: str,
    images: int,
    out: Path,
    json_out: Path | None,
    markdown: Path | None,
) -> None:
    """One page of PATHS: bundles (verdict, measurements, images) and runs (training curves).

    With a data set the images show ground truth and the affinity maps; without, the golden
    images. The page holds everything it shows and loads nothing. A file that --json wrote gives the
    same page again.
    """
    from artoolkit.evidence.seal import write_atomically
    from artoolkit.files import faults_of
    from artoolkit.report.page import as_html, as_markdown, gather

    given = _written(paths)
    content = given
    if content is None:
        data = None if dataset is None else open_data(dataset, data_root, classes)
        content = gather(paths, dataset=data, split=split, images=images)
    # Whoever wrote a report's JSON decides what is in it, whether or not it can be drawn.
    with faults_of(f"report {paths[0]}", BundleError) if given else nullcontext():
        html, table = as_html(content).encode(), as_markdown(content).encode()
    write_atomically(out, html)
    if json_out is not None:
        write_atomically(json_out, content.to_bytes())
    if markdown is not None:
        write_atomically(markdown, table)
    click.echo(f"{out}  {len(html) / 1e6:.2f} MB")


def _written(paths: tuple[Path, ...]) -> ReportContent | None:
    """The content that an earlier report wrote as JSON; None where `paths` are folders."""
    from artoolkit.evidence.records import read_record
    from artoolkit.report.content import ReportContent

    files = [path for path in paths if path.is_file()]
    if not files:
        return None
    if len(paths) > 1:
        raise UsageError(
            f"{files[0]} is a file", expected="folders of bundles and runs, or one report's JSON"
        )
    return read_record(files[0], ReportContent)
