"""`artoolkit build`: the engine of a bundle, for this device or ahead of time for another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from artoolkit.cli.options import CommaList, cuda_memory_option
from artoolkit.cli.progress import progress_bar
from artoolkit.cli.talk import json_option, tell
from artoolkit.words import HARDWARE_COMPATIBILITIES, LIBRARIES

if TYPE_CHECKING:
    from artoolkit.words import CudaMemory


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--library",
    type=click.Choice(LIBRARIES),
    help="TensorRT, or TensorRT for RTX.  [default: the target's backend]",
)
@click.option(
    "--compute-capability",
    "compute_capabilities",
    type=CommaList(str),
    help="RTX only: build ahead of time for these, as in 86,8.9,sm_120, or 'portable' (from 8.0).",
)
@click.option("--device", help="Build on this GPU or DLA: cuda:0, dla:0.  [default: the target's]")
@click.option("--workspace", "workspace_gib", type=float, help="Workspace limit (GiB).")
@click.option("--opt-level", type=click.IntRange(0, 5), help="Builder optimisation level.")
@click.option(
    "--timing-cache",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Read tactic timings from this file, and add new ones.",
)
@click.option(
    "--error-on-timing-cache-miss",
    is_flag=True,
    default=None,
    help="Fail rather than time a new tactic.",
)
@click.option(
    "--hardware-compatibility",
    type=click.Choice(HARDWARE_COMPATIBILITIES),
    help="Let the engine run on other GPUs; can slow it down.  [default: none]",
)
@click.option(
    "--version-compatible",
    is_flag=True,
    default=None,
    help="Let newer TensorRT of the same major version load it; can slow it down.",
)
@click.option(
    "--refittable",
    is_flag=True,
    default=None,
    help="Let `artoolkit refit` replace its weights; an engine of its own, which may be slower.",
)
@click.option(
    "--onnx",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Only write the ONNX file that the engine is built from, as trtexec takes it.",
)
@cuda_memory_option
@json_option
def command(
    *,
    bundle: Path,
    onnx: Path | None,
    cuda_memory: CudaMemory | None,
    as_json: bool,
    **asked: Any,
) -> None:
    """Build the engine of BUNDLE for the target that it was made for.

    Adds an engine and its sidecar to BUNDLE/engines; the baseline inside BUNDLE gets its own
    first, from the same timings. Without a GPU, RTX engines can be built for any compute
    capability. For OpenVINO the engine is the compiled model; only --device concerns it.
    """
    from artoolkit.backends import backend_named
    from artoolkit.evidence.bundle import open_bundle

    opened = open_bundle(bundle)
    if onnx is not None:
        from artoolkit.graph.forms import write_form

        write_form(opened.model, opened.manifest.target.forms, onnx)
        tell({"onnx": onnx}, str(onnx), as_json=as_json)
        return
    name = asked["library"] or opened.manifest.target.backend
    backend = backend_named(name, cuda_memory=cuda_memory)
    given = {option: value for option, value in asked.items() if value is not None}
    with progress_bar() as report:

        def progress(phase: str, share: float) -> bool:
            report(f"building: {phase}", share)
            return True

        built = backend.build(opened, given, progress=progress)
    lines = [f"{name}: {value}" for one in built for name, value in one.rows.items()]
    tell({"engine": built[-1].engine, **built[-1].record}, *lines, as_json=as_json)
