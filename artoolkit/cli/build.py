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
    from artoolkit.backends.tensorrt.loader import Engine
    from artoolkit.words import CudaMemory


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--library",
    type=click.Choice(LIBRARIES),
    help="TensorRT, or TensorRT for RTX.  [default: the target's]",
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
    "--error-on-timing-cache-miss", is_flag=True, help="Fail rather than time a new tactic."
)
@click.option(
    "--hardware-compatibility",
    type=click.Choice(HARDWARE_COMPATIBILITIES),
    default="none",
    show_default=True,
    help="Let the engine run on other GPUs; can slow it down.",
)
@click.option(
    "--version-compatible",
    is_flag=True,
    help="Let newer TensorRT of the same major version load it; can slow it down.",
)
@click.option(
    "--refittable",
    is_flag=True,
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
    first, from the same timings. Without a GPU, RTX engines can be built for
    any compute capability.
    """
    from artoolkit.backends.tensorrt.loader import build_engines, options_for
    from artoolkit.evidence.bundle import open_bundle

    opened = open_bundle(bundle)
    if onnx is not None:
        from artoolkit.graph.forms import write_form

        write_form(opened.model, opened.manifest.target.forms, onnx)
        tell({"onnx": onnx}, str(onnx), as_json=as_json)
        return
    if asked["compute_capabilities"] == ("portable",):
        asked["compute_capabilities"] = ()
    options = options_for(opened.manifest.target, **asked)
    if "75" in options.compute_capabilities and options.precision in ("fp32", "tf32"):
        click.echo("note: RTX builds no fp32 matrix product for SM75; fp16 builds", err=True)
    with progress_bar() as report:

        def progress(phase: str, share: float) -> bool:
            report(f"building: {phase}", share)
            return True

        engines = build_engines(opened, options, cuda_memory=cuda_memory, progress=progress)
    lines = [
        f"{name}: {value}"
        for engine in engines
        for name, value in _rows(engine, engine.plan.parent.parent).items()
    ]
    last = engines[-1]
    tell({"engine": last.plan, **last.sidecar.model_dump(mode="json")}, *lines, as_json=as_json)


def _rows(engine: Engine, bundle: Path) -> dict[str, str]:
    sidecar = engine.sidecar
    capabilities = (f"SM{c}" if c.isdecimal() else c for c in sidecar.compute_capabilities)
    runs_on = sidecar.gpu or ", ".join(capabilities)
    made_by = f"{sidecar.library} {sidecar.library_version}, {sidecar.options.precision}"
    form = f"artoolkit build {bundle} --onnx {engine.plan.stem}.onnx && " if sidecar.forms else ""
    return {
        "engine": f"{engine.plan}, {sidecar.plan_bytes:,} bytes",
        "built by": f"{made_by}, for {runs_on}, in {sidecar.seconds:.1f} s",
        "activations": _bytes(sidecar.activation_bytes),
        "weights": _bytes(sidecar.weights_bytes),
        "the same with NVIDIA's tool": form + sidecar.trtexec,
    }


def _bytes(size: int | None) -> str:
    return "not told by the build log" if size is None else f"{size:,} bytes"
