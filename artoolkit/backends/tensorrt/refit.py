"""REFIT: engines of one bundle take the weights of another bundle of the same program.

Only engines built with `artoolkit build --refittable` can, and TensorRT may run those slower: they
are builds of their own, with own names, flags and measurements. RTX builds again in seconds.
"""

from __future__ import annotations

import contextlib
import time
from datetime import datetime, timezone
from pathlib import Path

from artoolkit import __version__
from artoolkit.backends.tensorrt.loader import Engine
from artoolkit.backends.tensorrt.runner import open_plan
from artoolkit.backends.tensorrt.sidecar import Sidecar, plans, read_sidecar
from artoolkit.errors import EngineError, StorageError
from artoolkit.evidence.bundle import Bundle
from artoolkit.evidence.engines import sidecar_path
from artoolkit.evidence.seal import file_sha256, seal, write_sealed
from artoolkit.graph.forms import write_form
from artoolkit.words import CudaMemory


def refit_engines(
    held: Bundle, made: Bundle, *, device: str = "cuda:0", cuda_memory: CudaMemory | None = None
) -> tuple[Engine, ...]:
    """Refit the engines of `held` with the weights of `made`, into `made`; empty where none can be.

    Raises `EngineError` where no refittable engine fits this machine or takes the weights,
    `BackendError` without a driver or GPU, `MissingLibraryError`, `StorageError`.
    """
    engines, refusals = [], []
    for plan in plans(held):
        sidecar = read_sidecar(plan)
        if not sidecar.options.refittable or sidecar.forms != made.manifest.target.forms:
            continue
        memory = cuda_memory or made.manifest.target.cuda_memory
        try:
            engines.append(_refit(plan, sidecar, held, made, device=device, cuda_memory=memory))
        except EngineError as error:  # a bundle may carry engines of several machines
            refusals.append(error)
    if refusals and not engines:
        raise refusals[0]
    return tuple(engines)


def _refit(
    plan: Path, sidecar: Sidecar, held: Bundle, made: Bundle, *, device: str,
    cuda_memory: CudaMemory,
) -> Engine:  # fmt: skip
    start, out = time.perf_counter(), made.engines / plan.name
    partial, form = out.with_name(f".{out.name}.partial"), out.with_name(f".{out.stem}.onnx")
    try:
        out.parent.mkdir(exist_ok=True)
        write_form(made.model, sidecar.forms, form)
        runner = open_plan(
            plan, library=sidecar.library, device=device, cuda_memory=cuda_memory,
            manifest=held.manifest.sha256, bundle=held.path,
        )  # fmt: skip
        with contextlib.closing(runner):
            partial.write_bytes(runner.refitted(form.read_bytes()))
        values = sidecar.model_dump(mode="json") | {
            "artoolkit": __version__,
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "onnx_sha256": file_sha256(made.model),
            "plan_sha256": file_sha256(partial),
            "plan_bytes": partial.stat().st_size,
            "seconds": round(time.perf_counter() - start, 3),
            "metadata": sidecar.metadata | {"date": made.manifest.created},
            "manifest": made.manifest.sha256,
            "refitted_from": sidecar.plan_sha256,
        }
        engine = Engine(out, Sidecar.model_validate(seal(values)))
        partial.replace(out)
        write_sealed(sidecar_path(out), values)
    except OSError as error:
        raise StorageError(f"cannot write {out}: {error.strerror}") from error
    finally:
        for left in (partial, form):
            with contextlib.suppress(OSError):
                left.unlink()
    return engine
