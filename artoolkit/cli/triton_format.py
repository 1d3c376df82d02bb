"""`artoolkit export --format triton`: a bundle as a model repository of Triton and Isaac ROS."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from artoolkit.errors import StorageError, UsageError

if TYPE_CHECKING:
    from artoolkit.evidence.bundle import Bundle


def serve(bundle: Bundle, repository: Path, *, engine: Path | None, overwrite: bool) -> None:
    """Write the repository, and print its folder and the launch command of Isaac ROS.

    Triton is given `engine`, or the bundle's one engine that it loads, or else its ONNX file.
    Raises `UsageError` where several engines could be meant, `StorageError` where the folder is
    taken.
    """
    from artoolkit.deploy.triton import isaac_ros_arguments, write_triton

    folder = repository / bundle.manifest.network
    if folder.exists() and not overwrite:
        raise StorageError(f"{folder} exists", hint="Give another --out, or --overwrite.")
    plan = engine or _only_engine(bundle)
    write_triton(bundle, repository, plan=plan)
    click.echo(f"{folder}  {'engine ' + plan.name if plan else 'ONNX file'}")
    click.echo(f"Isaac ROS: {isaac_ros_arguments(bundle, repository)}")


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
    return found[0] if found else None
