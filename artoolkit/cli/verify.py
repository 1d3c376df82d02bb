"""`artoolkit verify`: a bundle's hashes and golden images on this machine; no torch needed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from artoolkit.cli.options import (
    backend_option,
    cuda_memory_option,
    device_option,
    junit_option,
    threads_option,
)
from artoolkit.cli.talk import json_option


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@backend_option()
@device_option(default=None)
@threads_option
@cuda_memory_option
@click.option("--require-signature", "public_key", metavar="KEY",
              type=click.Path(path_type=Path, dir_okay=False),
              help="Public key that the bundle has to be signed with.")  # fmt: skip
@json_option
@junit_option
def command(
    *,
    bundle: Path,
    backend: str | None,
    device: str | None,
    threads: int | None,
    cuda_memory: str | None,
    public_key: Path | None,
    as_json: bool,
    junit: Path | None,
) -> None:
    """Verify the hashes of BUNDLE, answer its checks again and replay golden images.

    Checks the sha256 of every file (baseline, evidence and engines too), answers the verdict's
    checks again from both model files and the raw measurements, and replays the golden images.
    Exit code: 0 all hold, 1 one does not, 3 something could not be read or run here.
    """
    from artoolkit import verify
    from artoolkit.cli.progress import working
    from artoolkit.cli.verdict_table import show_checks
    from artoolkit.evidence.seal import write_atomically
    from artoolkit.report.junit import junit_of

    with working("verifying"):
        found = verify(
            bundle,
            backend=backend,
            device=device,
            threads=threads,
            cuda_memory=cuda_memory,
            public_key=public_key,
        )
    if junit is not None:
        write_atomically(junit, junit_of({f"verify {bundle}": found.checks}))
    if as_json:
        click.echo(json.dumps(found.model_dump(mode="json")["checks"], indent=2))
    else:
        show_checks(found.checks, title=f"verify {bundle}")
    sys.exit(found.exit_code)
