"""`artoolkit refit`: a bundle, and its engine, from another one and a delta."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from artoolkit.cli.options import cuda_memory_option, device_option, out_option
from artoolkit.cli.progress import working
from artoolkit.cli.talk import json_option, tell
from artoolkit.words import LIBRARIES

if TYPE_CHECKING:
    from artoolkit.words import CudaMemory


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("delta", type=click.Path(path_type=Path, dir_okay=False))
@out_option(help_text="Folder of the new bundle.")
@device_option(default=None)
@cuda_memory_option
@click.option("--overwrite", is_flag=True, help="Replace the bundle at --out.")
@json_option
def command(
    *,
    bundle: Path,
    delta: Path,
    out: Path,
    device: str | None,
    cuda_memory: CudaMemory | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Make the bundle that DELTA was written for, from BUNDLE, and verify it on this machine.

    Engines of BUNDLE that were built with --refittable take the new weights too. Exit code as of
    `artoolkit verify`.
    """
    from artoolkit import verify
    from artoolkit.backends.tensorrt.refit import refit_engines
    from artoolkit.cli.verdict_table import show_checks
    from artoolkit.evidence.bundle import open_bundle
    from artoolkit.evidence.delta import refit_bundle

    with working("making the bundle"):
        made = refit_bundle(bundle, delta, out, overwrite=overwrite)
    result: dict[str, Any] = {"bundle": out, "sha256": made.manifest.sha256, "checks": []}
    lines = [f"{out}  sha256 {made.manifest.sha256}"]
    engines = refit_engines(
        open_bundle(bundle), made, device=device or "cuda:0", cuda_memory=cuda_memory
    )
    lines += [f"engine: {e.plan}, refitted in {e.sidecar.seconds:.1f} s" for e in engines]
    backend = engines[0].sidecar.library if engines else made.manifest.target.backend
    if backend in LIBRARIES and not engines:
        lines.append(f"no engine to refit: artoolkit build {out} && artoolkit verify {out}")
        tell(result, *lines, as_json=as_json)
        return
    with working("verifying"):
        found = verify(made, backend=backend, device=device, cuda_memory=cuda_memory)
    result["checks"] = found.model_dump(mode="json")["checks"]
    tell(result, *lines, as_json=as_json)
    if not as_json:
        show_checks(found.checks, title=f"verify {out}")
    sys.exit(found.exit_code)
