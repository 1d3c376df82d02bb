"""A checkpoint or a bundle, opened to compute labels: what `predict` and `evaluate` share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from artoolkit.errors import BundleError, UsageError

if TYPE_CHECKING:
    from artoolkit.backends.runner import Runner
    from artoolkit.labels import LabelTable


@dataclass(frozen=True)
class Source:
    """An open runner with the classes that it predicts and the image size that it takes."""

    name: str
    runner: Runner
    labels: LabelTable
    imgsz: tuple[int, int]

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.runner.close()


def open_source(
    path: Path,
    *,
    backend: str | None = None,
    device: str | None = None,
    imgsz: tuple[int, int] | None = None,
    threads: int | None = None,
) -> Source:
    """Open a bundle as its target says (or `backend`, `device`), or a checkpoint with torch.

    Raises `UsageError` for a combination that cannot be, `BundleError` or `CheckpointError` for a
    file that cannot be used.
    """
    from artoolkit.backends import backend_named

    if path.is_dir():
        return _open_bundle(path, backend=backend, device=device, imgsz=imgsz, threads=threads)
    if not path.exists():
        raise BundleError(
            f"{path} does not exist", expected="a bundle folder or a checkpoint (.safetensors)"
        )
    if backend is not None and not backend_named(backend).checkpoints:
        raise UsageError(
            f"a checkpoint runs on torch, not on {backend}",
            hint=f"Export it first: artoolkit export {path} --out BUNDLE",
        )
    return _open_checkpoint(path, device=device or "cpu", imgsz=imgsz)


def _open_bundle(
    path: Path,
    *,
    backend: str | None,
    device: str | None,
    imgsz: tuple[int, int] | None,
    threads: int | None,
) -> Source:
    from artoolkit.backends import open_runner
    from artoolkit.evidence.bundle import open_bundle

    bundle = open_bundle(path)
    target = bundle.manifest.target
    if imgsz not in (None, target.imgsz):
        raise UsageError(
            "a bundle has a fixed image size",
            got="--imgsz {} {}".format(*imgsz),
            expected="{} {} (height width)".format(*target.imgsz),
            hint="Export another bundle for another size.",
        )
    runner = open_runner(bundle, backend=backend, device=device, threads=threads)
    return Source(path.name, runner, bundle.manifest.labels, target.imgsz)


def _open_checkpoint(path: Path, *, device: str, imgsz: tuple[int, int] | None) -> Source:
    from artoolkit.optional import require

    require("torch", "running a checkpoint")
    from artoolkit.backends.torch.runner import open_torch
    from artoolkit.deploy.graph import deployed_module
    from artoolkit.networks.checkpoint import read_checkpoint
    from artoolkit.spec import Target

    checkpoint = read_checkpoint(path)
    imgsz = imgsz or checkpoint.meta.imgsz
    if imgsz is None:
        raise UsageError("a checkpoint has no image size of its own", expected="--imgsz H W")
    target = Target(name="torch", imgsz=imgsz, backend="torch", device=device)
    module = deployed_module(checkpoint.network(), checkpoint.meta.preprocess, target)
    runner = open_torch(module, (1, *imgsz, 3), device=device)
    return Source(path.name, runner, checkpoint.meta.labels, imgsz)
