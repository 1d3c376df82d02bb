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

    Checks the sha256 of every file (baseline, evidence and engines too), makes the answers of the
    verdict again from its raw measurements, and replays the golden images. Exit code: 0 all hold,
    1 one does not, 3 the golden images could not be run.
    """
    from artoolkit.checks.verify import verify_bundle
    from artoolkit.cli.verdict_table import show_checks
    from artoolkit.evidence.verdict import EXIT_CODES, overall

    checks = verify_bundle(
        bundle, backend=backend, device=device, threads=threads, public_key=public_key
    )
    if as_json:
        click.echo(json.dumps([check.model_dump() for check in checks], indent=2))
    else:
        show_checks(checks, title=f"verify {bundle}")
    sys.exit(EXIT_CODES[overall(checks)])
