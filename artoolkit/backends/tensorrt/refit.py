"""REFIT: engines of one bundle take the weights of another bundle of the same program.

Only engines built with `artoolkit build --refittable` can, and TensorRT may run those slower: they
are builds of their own, with own names, flags and measurements. RTX builds again in seconds.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

from artoolkit.backends.tensorrt.loader import Engine, place_engine
from artoolkit.backends.tensorrt.runner import open_plan
from artoolkit.backends.tensorrt.sidecar import Sidecar, plans, read_sidecar
from artoolkit.errors import EngineError
from artoolkit.evidence.bundle import Bundle
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
    start = time.perf_counter()

    def refit(form: Path, partial: Path) -> dict[str, Any]:
        runner = open_plan(
            plan, library=sidecar.library, device=device, cuda_memory=cuda_memory,
            manifest=held.manifest.sha256, bundle=held.path,
        )  # fmt: skip
        with contextlib.closing(runner):
            partial.write_bytes(runner.refitted(form.read_bytes()))
        return sidecar.model_dump(mode="json") | {
            "seconds": round(time.perf_counter() - start, 3),
            "metadata": sidecar.metadata | {"date": made.manifest.created},
            "manifest": made.manifest.sha256,
            "refitted_from": sidecar.plan_sha256,
        }

    return place_engine(made.engines / plan.name, made.model, sidecar.forms, refit)
