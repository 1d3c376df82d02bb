"""`artoolkit report`: runs and bundles as one HTML page that people can pass on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from artoolkit.cli.options import dataset_options, junit_option, open_data, out_option
from artoolkit.errors import BundleError, UsageError

if TYPE_CHECKING:
    from artoolkit.report.content import ReportContent


_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@dataset_options()
@click.option("--split", default="val", show_default=True, help="Split that images are from.")
@click.option(
    "--images", type=click.IntRange(min=0), default=3, show_default=True, help="Pictured images."
)
@out_option(help_text="The HTML file.", required=False)
@click.option("--markdown", type=_FILE, help="Write a comment for a pull request.")
@click.option("--badge", type=_FILE, help="Write the answer as an SVG badge.")
@junit_option
@click.option("--json", type=_FILE, is_flag=False, flag_value="-", metavar="[FILE]",
              help="Write the content too, or print it alone on standard output; as PATHS it "
              "gives the same page again.")  # fmt: skip
def command(
    *,
    paths: tuple[Path, ...],
    dataset: str | None,
    data_root: Path | None,
    classes: Path | None,
    split: str,
    images: int,
    **files: Path | None,
) -> None:
    """One page of PATHS: bundles (verdict, measurements, images) and runs (training curves).

    With a data set the images show ground truth and the affinity maps; without, the golden
    images. The page holds everything it shows and loads nothing. A file that --json wrote gives the
    same page again.
    """
    from artoolkit.cli.progress import working
    from artoolkit.evidence.seal import write_atomically
    from artoolkit.files import faults_of
    from artoolkit.report.junit import junit_of
    from artoolkit.report.markdown import as_badge, as_markdown
    from artoolkit.report.page import as_html, gather

    if not any(files.values()):
        raise UsageError(
            "nothing to write", expected="--out, --markdown, --badge, --junit or --json"
        )
    given = _written(paths)
    content = given
    if content is None:
        data = None if dataset is None else open_data(dataset, data_root, classes)
        # Only the page and its content show images.
        images = images if files["out"] or files["json"] else 0
        with working("reading and predicting"):
            content = gather(paths, dataset=data, split=split, images=images)
    writers: dict[str, Callable[[ReportContent], bytes]] = {
        "out": lambda one: as_html(one).encode(),
        "markdown": lambda one: as_markdown(one).encode(),
        "badge": lambda one: as_badge(one).encode(),
        "junit": lambda one: junit_of({p.name: p.verdict.checks for p in one.bundles if p.verdict}),
        "json": lambda one: one.to_bytes(),
    }
    # Whoever wrote a report's JSON decides what is in it, whether or not it can be drawn.
    with faults_of(f"report {paths[0]}", BundleError) if given else nullcontext():
        made = {path: writers[name](content) for name, path in files.items() if path is not None}
    printed = made.pop(Path("-"), None)
    for path, text in made.items():
        write_atomically(path, text)
        if printed is None:
            click.echo(f"{path}  {len(text) / 1e6:.2f} MB")
    if printed is not None:
        click.echo(printed.decode(), nl=False)


def _written(paths: tuple[Path, ...]) -> ReportContent | None:
    """The content that an earlier report wrote as JSON; None where `paths` are folders."""
    from artoolkit.evidence.bundle import read_manifest
    from artoolkit.evidence.records import read_record
    from artoolkit.report.content import ReportContent

    files = [path for path in paths if path.is_file()]
    if not files:
        return None
    if len(paths) > 1:
        raise UsageError(
            f"{files[0]} is a file", expected="folders of bundles and runs, or one report's JSON"
        )
    if files[0].suffix == ".onnx":
        read_manifest(files[0])  # refuses it with the right next step
    return read_record(files[0], ReportContent)
