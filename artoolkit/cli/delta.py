"""`artoolkit delta`: the trained weights that make one bundle of another."""

from __future__ import annotations

from pathlib import Path

import click

from artoolkit.cli.options import out_option
from artoolkit.cli.talk import json_option, tell


@click.command()
@click.argument("held", type=click.Path(path_type=Path))
@click.argument("made", type=click.Path(path_type=Path))
@out_option(help_text="File of the delta (.npz).")
@json_option
def command(*, held: Path, made: Path, out: Path, as_json: bool) -> None:
    """Write what a device that holds the bundle HELD needs to have MADE: the trained weights.

    Both must be the same program. `artoolkit refit HELD FILE` then makes MADE there, byte by byte:
    golden labels, verdicts and signature travel too, engines do not.
    """
    from artoolkit.evidence.delta import write_delta

    delta = write_delta(held, made, out)
    size, files = out.stat().st_size, delta.record.files
    whole = sum((made / name).stat().st_size for name in files)
    tell(
        {"delta": out, "bytes": size, "held": delta.record.held, "made": delta.record.made},
        f"{out}  {size:,} bytes for {whole:,}, {delta.trained} trained tensors",
        f"{delta.record.held[:16]} -> {delta.record.made[:16]}",
        as_json=as_json,
    )
