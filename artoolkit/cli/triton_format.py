"""`artoolkit export --format triton` and `deepstream`: a bundle as what others' servers load."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from artoolkit.cli.talk import tell
from artoolkit.errors import UsageError

if TYPE_CHECKING:
    from artoolkit.evidence.bundle import Bundle

_OTHER_FORM = "--input-layout nchw_float32 --labels-dtype int32 --batch 1"


def serve(
    bundle: Bundle, out: Path, *, form: str, engine: Path | None, overwrite: bool,
    instances: int, warmup: int, as_json: bool,
) -> None:  # fmt: skip
    """Write the folder, and print it and how others launch it.

    It is given `engine`, or the bundle's one engine that Triton loads; Triton, where there is
    none, the ONNX file. Raises `UsageError` where several engines could be meant or the folder is
    taken, `EngineError` where DeepStream has none.
    """
    from artoolkit.deploy.deepstream import CONFIG, write_deepstream
    from artoolkit.deploy.triton import CONFIG as TRITON_CONFIG
    from artoolkit.deploy.triton import isaac_ros_arguments, write_triton
    from artoolkit.evidence.bundle import require_free

    folder = out / bundle.manifest.network if form == "triton" else out
    mark = TRITON_CONFIG if form == "triton" else CONFIG
    require_free(folder, overwrite=overwrite, mark=mark, what=f"an export for {form}")
    plan = engine or _only_engine(bundle)
    if form == "deepstream":
        made = write_deepstream(bundle, out, plan=plan)
        tell({"folder": out}, f"{made}: see README.md beside it", as_json=as_json)
        return
    write_triton(bundle, out, plan=plan, instances=instances, warmup=warmup)
    what = f"engine {plan.name}" if plan else "ONNX file"
    launch = isaac_ros_arguments(bundle, out)
    tell(
        {"folder": folder, "serves": what, "isaac_ros": launch},
        f"{folder}  {what}",
        f"Isaac ROS: {launch or f'its nodes need a bundle exported with {_OTHER_FORM}'}",
        as_json=as_json,
    )


def _only_engine(bundle: Bundle) -> Path | None:
    from artoolkit.backends import backend_named
    from artoolkit.evidence.engines import engine_files, engine_record

    engines = engine_files(bundle)
    found = [one for one in engines if backend_named(engine_record(one).library).triton]
    if len(found) > 1:
        raise UsageError(
            f"{bundle.path} has several engines",
            got=", ".join(plan.name for plan in found),
            hint="Name one: --engine PLAN",
        )
    for other in engines if not found else ():
        library = backend_named(engine_record(other).library).title
        click.echo(f"{other.name} is an engine of {library}, which Triton cannot serve", err=True)
    return found[0] if found else None
