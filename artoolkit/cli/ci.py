"""`artoolkit ci`: a workflow for a CI service, filled from `export/ci`."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click

from artoolkit import __version__
from artoolkit.cli.options import dataset_options


@click.command()
@click.argument("service", type=click.Choice(("github", "gitlab")))
@click.option("--bundle", type=click.Path(path_type=Path), default=Path("bundle"),
              show_default=True, help="Folder of the bundle in the repository.")  # fmt: skip
@dataset_options()
def command(
    *,
    service: str,
    bundle: Path,
    dataset: str | None,
    data_root: Path | None,
    classes: Path | None,
) -> None:
    """Print a workflow for SERVICE that verifies and compares a bundle on every change.

    It shows each check as a test, comments the verdict on a pull request (GitHub) and keeps the
    evidence. With a data set it judges accuracy, too; the data has to be on the machine.
    """
    from artoolkit.targets import export_folder

    given = {"--dataset": dataset, "--data-root": data_root, "--classes": classes}
    data = [str(part) for pair in given.items() if pair[1] is not None for part in pair]
    values = {
        "BUNDLE": shlex.quote(bundle.as_posix()),
        # A version between releases is nowhere to be installed from.
        "PIN": "" if "+" in __version__ else f"=={__version__}",
        "DATA": shlex.join(data) + " " if data else "",
    }
    text = (export_folder("ci") / f"{service}.yml").read_text(encoding="utf-8")
    click.echo(re.sub(r"@([A-Z]+)@", lambda found: values[found[1]], text), nl=False)
