"""Engines: `engine_from_onnx` builds a plan and its sidecar, `build_engine` adds them to a bundle.

The build runs in a fresh process (`build.py`); plan and sidecar appear together or not at all.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from artoolkit import __version__
from artoolkit.backends.tensorrt.build import BuiltPlan, build_in_process
from artoolkit.backends.tensorrt.cuda import Gpu, gpu_of
from artoolkit.backends.tensorrt.library import (
    RTX_CAPABILITIES,
    check_range,
    library_name,
    machine,
    open_library,
)
from artoolkit.backends.tensorrt.options import (
    PORTABLE,
    BuildOptions,
    build_options,
    trtexec_command,
)
from artoolkit.backends.tensorrt.sidecar import PLAN, REFITTABLE, SCHEMA_VERSION, Sidecar
from artoolkit.errors import EngineError, StorageError, UsageError
from artoolkit.evidence.bundle import Bundle
from artoolkit.evidence.engines import sidecar_path
from artoolkit.evidence.seal import file_sha256, seal, write_sealed
from artoolkit.fresh_process import Progress
from artoolkit.graph.forms import write_form
from artoolkit.spec import Target
from artoolkit.words import CudaMemory


@dataclass(frozen=True)
class Engine:
    """A plan on disk and what is known of it."""

    plan: Path
    sidecar: Sidecar


def options_for(target: Target, **changes: Any) -> BuildOptions:
    """Build options of the target, overridden by those that are not None.

    Raises `UsageError` where the target runs no engine, or the options do not fit together.
    """
    asked = {key: value for key, value in changes.items() if value is not None}
    library = asked.pop("library", None) or library_name(target)
    if library == "tensorrt-rtx" and "compute_capabilities" not in asked:
        # A GPU that RTX does not list gets a portable plan, which RTX itself judges when loading.
        listed = tuple(c for c in target.compute_capabilities if c in RTX_CAPABILITIES)
        asked["compute_capabilities"] = listed
    values = {"precision": target.precision, "device": target.device, **asked}
    return build_options(library=library, **values)


def engine_from_onnx(
    onnx: Path,
    target: Target,
    plan: Path,
    *,
    options: BuildOptions | None = None,
    cuda_memory: CudaMemory | None = None,
    metadata: Mapping[str, Any] | None = None,
    manifest: str | None = None,
    progress: Progress | None = None,
) -> Engine:
    """Build `plan` from `onnx`, in the target's forms, and write its sidecar beside it.

    `cuda_memory`: what opens the GPU (None: the target's word). `metadata` is stored as it is;
    `manifest` is the sha256 of the bundle that `onnx` belongs to.
    Raises `EngineError` where the library, the parser or the builder refuses,
    `MissingLibraryError`, `StorageError`, and `KeyboardInterrupt` where `progress` returns False.
    """
    options = options or options_for(target)
    library = open_library(options.library, f"building an engine for {target.name}")
    check_range(library, target)
    cuda_memory = cuda_memory or target.cuda_memory
    gpu = building_gpu(target, options, cuda_memory)

    def build(form: Path, partial: Path) -> dict[str, Any]:
        built = build_in_process(form, partial, options, cuda_memory=cuda_memory, progress=progress)
        source = Path(f"{plan.stem}.onnx") if target.forms else onnx
        return _build_values(built, options, gpu) | {
            "target": target.name,
            "trtexec": trtexec_command(source, plan, options, built.library_version),
            "metadata": dict(metadata or {}),
            "manifest": manifest,
        }

    return place_engine(plan, onnx, target.forms, build)


def place_engine(
    plan: Path, onnx: Path, forms: tuple[str, ...], make: Callable[[Path, Path], dict[str, Any]]
) -> Engine:
    """Put an engine and its sidecar in place, together or not at all.

    `make` gets the file of `onnx` in its `forms`, writes the engine to the other path, and returns
    what the sidecar says of it. Raises `StorageError`, and what `make` raises.
    """
    partial, form = plan.with_name(f".{plan.name}.partial"), plan.with_name(f".{plan.stem}.onnx")
    try:
        plan.parent.mkdir(parents=True, exist_ok=True)
        write_form(onnx, forms, form)
        values = make(form, partial) | {
            "artoolkit": __version__,
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "onnx_sha256": file_sha256(onnx),
            "forms": list(forms),
            "plan_sha256": file_sha256(partial),
            "plan_bytes": partial.stat().st_size,
        }
        sidecar = Sidecar.model_validate(seal(values))
        partial.replace(plan)
        write_sealed(sidecar_path(plan), values)
    except OSError as error:
        raise StorageError(f"cannot write {plan}: {error.strerror}") from error
    finally:
        for left in (partial, form):
            with contextlib.suppress(OSError):
                left.unlink()
    return Engine(plan, sidecar)


def building_gpu(target: Target, options: BuildOptions, cuda_memory: CudaMemory) -> Gpu | None:
    """The GPU that `tensorrt` times its tactics on, which must be the target's; None for RTX.

    Raises `EngineError` where it is another one, `BackendError` without a driver or GPU.
    """
    if options.library == "tensorrt-rtx":
        return None
    gpu = gpu_of(options.device, cuda_memory)
    if target.compute_capabilities and gpu.compute_capability not in target.compute_capabilities:
        raise EngineError(
            f"target {target.name} is another GPU than this machine's",
            got=f"{gpu.identity} (SM{gpu.compute_capability})",
            expected=" or ".join(f"SM{c}" for c in target.compute_capabilities),
            hint="Build on the target, or export another bundle for this GPU.",
        )
    return gpu


def _build_values(built: BuiltPlan, options: BuildOptions, gpu: Gpu | None) -> dict[str, Any]:
    capabilities = [gpu.compute_capability] if gpu else list(options.compute_capabilities)
    return {
        "schema_version": SCHEMA_VERSION,
        "library": options.library,
        "library_version": built.library_version,
        "machine": machine(),
        "compute_capabilities": capabilities or [PORTABLE],
        "gpu": gpu.identity if gpu else None,
        "driver": gpu.driver if gpu else None,
        "options": options.model_dump(mode="json"),
        "flags": list(built.flags),
        "activation_bytes": built.activation_bytes,
        "weights_bytes": built.weights_bytes,
        "seconds": round(built.seconds, 3),
        "log": list(built.log),
    }


def build_engine(
    bundle: Bundle,
    options: BuildOptions,
    *,
    cuda_memory: CudaMemory | None = None,
    progress: Progress | None = None,
) -> Engine:
    """Build the bundle's engine into `engines/`, chained to its manifest; replaces the same one.

    Raises `UsageError` where `options` were not made for the bundle's own target, and the errors
    of `engine_from_onnx`.
    """
    target = bundle.manifest.target
    if options.precision != target.precision:
        raise UsageError(
            f"this bundle was made for target {target.name} in {target.precision}",
            got=options.precision,
            hint="Export another bundle: a bundle has one target and one precision.",
        )
    library = open_library(options.library, f"building an engine for {target.name}")
    gpu = building_gpu(target, options, cuda_memory or target.cuda_memory)
    label = options.capabilities_label if gpu is None else f"sm{gpu.compute_capability}"
    kind = options.device.partition(":")[0]
    label += f"-{kind}" if gpu is not None and kind != "cuda" else ""
    label += REFITTABLE if options.refittable else ""
    name = f"{options.library}-{library.version}-{label}{PLAN}"
    return engine_from_onnx(
        bundle.model,
        target,
        bundle.engines / name,
        options=options,
        cuda_memory=cuda_memory,
        metadata=_metadata(bundle),
        manifest=bundle.manifest.sha256,
        progress=progress,
    )


def build_engines(bundle: Bundle, options: BuildOptions, **how: Any) -> tuple[Engine, ...]:
    """Engines of the bundle and, before it, of the baseline inside it; as `build_engine`.

    Both from one timing cache: two builds by themselves differ by the noise of their timings.
    """
    pair = [bundle] if bundle.baseline is None else [bundle.baseline, bundle]
    with tempfile.TemporaryDirectory(prefix="artoolkit-timings-") as scratch:
        if len(pair) > 1 and options.library == "tensorrt" and options.timing_cache is None:
            timings = {"timing_cache": Path(scratch) / "timing.cache"}
            options = options.model_copy(update=timings)
        return tuple(build_engine(one, options, **how) for one in pair)


def _metadata(bundle: Bundle) -> dict[str, Any]:
    """Ultralytics' keys, which readers exist for; here and never in front of the plan's bytes."""
    manifest = bundle.manifest
    return {
        "description": f"artoolkit {manifest.network}, {manifest.labels.name}",
        "author": "artoolkit",
        "date": manifest.created,
        "version": manifest.artoolkit,
        "task": "semantic",
        "batch": manifest.target.batch,
        "imgsz": list(manifest.target.imgsz),
        "names": {str(i): name for i, name in enumerate(manifest.labels.names)},
        "args": {"precision": manifest.target.precision, "forms": list(manifest.target.forms)},
    }
