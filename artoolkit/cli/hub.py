"""`artoolkit hub`: bundles on the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

import click

from artoolkit.cli.options import out_option
from artoolkit.cli.progress import working
from artoolkit.cli.talk import json_option, tell


@click.group(name="hub")
def command() -> None:
    """Push a bundle to the Hugging Face hub, or pull one."""


@command.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("repository")
@click.option("--checkpoint", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help="Weights to push beside it, as model.safetensors.")  # fmt: skip
@click.option("--private", is_flag=True, help="Make a new repository private.")
@json_option
def push(
    *, bundle: Path, repository: str, checkpoint: Path | None, private: bool, as_json: bool
) -> None:
    """Put BUNDLE into REPOSITORY (someone/name) with a model card that holds the verdict."""
    from artoolkit.evidence.bundle import open_bundle
    from artoolkit.report import hub

    with working("pushing"):
        url = hub.push(open_bundle(bundle), repository, checkpoint=checkpoint, private=private)
    tell({"url": url}, url, as_json=as_json)


@command.command()
@click.argument("repository")
@click.option("--revision", help="Branch, tag or commit.  [default: main]")
@out_option(help_text="Folder of the bundle.")
@json_option
def pull(*, repository: str, revision: str | None, out: Path, as_json: bool) -> None:
    """Fetch the bundle in REPOSITORY (someone/name), every hash checked."""
    from artoolkit.report import hub

    with working("pulling"):
        made = hub.pull(repository, out, revision=revision)
    tell({"bundle": out, "sha256": made.manifest.sha256},
         f"{out}  sha256 {made.manifest.sha256}", as_json=as_json)  # fmt: skip
