"""`artoolkit verify`: a bundle's hashes and golden images on this machine; no torch needed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from artoolkit.cli.options import backend_option, device_option


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@backend_option()
@device_option(default=None)
@click.option("--threads", type=click.IntRange(min=1), help="Threads of ONNX Runtime.")
@click.option("--require-signature", "public_key", metavar="KEY",
              type=click.Path(path_type=Path, dir_okay=False),
              help="Public key that the bundle has to be signed with.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the checks as JSON.")
def command(
    *,
    bundle: Path,
    backend: str | None,
    device: str | None,
    threads: int | None,
    public_key: Path | None,
    as_json: bool,
) -> None:
    """Is BUNDLE whole, and does it compute here what it should?

    Checks the sha256 of every file (baseline, evidence and engines too), answers the verdict's
    checks again from both model files and the raw measurements, and replays the golden images.
    Exit code: 0 all hold, 1 one does not, 3 something could not be read or run here.
    """
    from artoolkit.checks.verify import verify
    from artoolkit.cli.verdict_table import show_checks

    found = verify(bundle, backend=backend, device=device, threads=threads, public_key=public_key)
    if as_json:
        click.echo(json.dumps(found.model_dump(mode="json")["checks"], indent=2))
    else:
        show_checks(found.checks, title=f"verify {bundle}")
    sys.exit(found.exit_code)
