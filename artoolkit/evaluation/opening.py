"""A predictor of whatever can predict: a checkpoint, a bundle, an engine in one, an ONNX file.

`open_predictor` is the one place that knows which file is opened how; `predict` is the whole way
from images to label maps in one call. Nothing here needs torch but where a checkpoint is opened.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from artoolkit.backends import backend_for, backend_named, backend_names
from artoolkit.data.image_files import read_rgb
from artoolkit.data.jobs import jobs_of
from artoolkit.errors import ArtoolkitError, BundleError, ExportError, UsageError
from artoolkit.evaluation.predictor import (
    NetworkPredictor,
    Pixels,
    Predictor,
    RunnerPredictor,
    SizeHW,
    predicted,
)
from artoolkit.evaluation.views import WHOLE, ViewedPredictor, Views
from artoolkit.evidence.bundle import ENGINES, MANIFEST, MODEL, Bundle, open_bundle
from artoolkit.graph.onnx_file import load_onnx, upsamples_with_corners
from artoolkit.labels import LabelTable
from artoolkit.optional import require
from artoolkit.preprocess import Preprocess, fill_color

if TYPE_CHECKING:
    from artoolkit.backends.backend import Backend, Progress
    from artoolkit.networks.checkpoint import Checkpoint
    from artoolkit.spec import RequestedNetwork
    from artoolkit.words import CudaMemory

    # A checkpoint (.safetensors), a bundle's folder, an engine in one, an .onnx file; or one that
    # is open already.
    Model = str | os.PathLike[str] | Bundle | Checkpoint


def open_predictor(
    model: Model,
    *,
    network: RequestedNetwork | str | None = None,
    labels: LabelTable | None = None,
    backend: str | None = None,
    device: str | None = None,
    imgsz: SizeHW | None = None,
    threads: int | None = None,
    cuda_memory: CudaMemory | None = None,
    views: Views = WHOLE,
) -> Predictor:
    """Open `model` to predict: a checkpoint, a bundle, an engine in a bundle or an .onnx file.

    network, labels: for weights of others, as in `artoolkit.load`.
    backend: torch for a checkpoint; None: what the model was made for. device: None: the same.
    imgsz: input height and width of a checkpoint; None: the size that published weights were made
    for, or that its recipe evaluates at, else every image's own. A graph has its own.
    threads: of one operator on a CPU. cuda_memory: what gives an engine of TensorRT its memory.
    views: scales, mirrored images and windows.

    To be closed after use; it is a context manager. Raises `UsageError` for a combination that
    cannot be, `BundleError`, `CheckpointError` or `ExportError` for a file that cannot be used,
    `BackendError` where it cannot be opened here, `MissingLibraryError`.
    """
    if isinstance(model, (str, os.PathLike)):
        model = _found(Path(model))
    options = {} if cuda_memory is None else {"cuda_memory": cuda_memory}
    if isinstance(model, Bundle) or (isinstance(model, Path) and _is_graph(model)):
        runs = backend_for(model, backend, **options)
        return _of_graph(model, runs, device=device, imgsz=imgsz, threads=threads, views=views)
    if not backend_named(backend or "torch", **options).checkpoints:
        raise UsageError(
            f"a checkpoint runs on torch, not on {backend}",
            hint="Export it first: artoolkit export CKPT --out BUNDLE",
        )
    require("torch", "running a checkpoint")
    from artoolkit.networks.loading import load

    checkpoint = load(model, network=network, labels=labels)
    trained, meta = checkpoint.network(), checkpoint.meta
    predictor = NetworkPredictor(
        trained,
        meta.labels,
        device=device or "cpu",
        input_hw=imgsz or meta.imgsz or _evaluated_at(meta.recipe),
        threads=threads,
    )
    return _viewed(predictor, views, meta.preprocess, lambda: trained.align_corners)


def trained_on(model: Model) -> str | None:
    """The name of the data set that a checkpoint or bundle was trained on, where it says so."""
    if isinstance(model, (str, os.PathLike)):
        model = _found(Path(model))
    if isinstance(model, Bundle):
        told = model.manifest.provenance.get("training") or {}
    elif isinstance(model, Path):
        require("torch", "reading a checkpoint")
        from artoolkit.networks.checkpoint import is_checkpoint, read_checkpoint

        told = read_checkpoint(model).meta.provenance if is_checkpoint(model) else {}
    else:
        told = model.meta.provenance
    name: str | None = told.get("dataset")
    return name


def _evaluated_at(recipe: dict[str, Any]) -> SizeHW | None:
    size = recipe.get("evaluation", {}).get("imgsz")
    return None if size is None else (int(size[0]), int(size[1]))


def _found(path: Path) -> Bundle | Path:
    """The bundle at `path`, or that a model.onnx belongs to, or the file itself."""
    if path.is_dir():
        return open_bundle(path)
    if not path.exists():
        raise BundleError(
            f"{path} does not exist", expected="a checkpoint, a bundle, an engine or an .onnx file"
        )
    if path.name == MODEL and (path.parent / MANIFEST).is_file():
        return open_bundle(path.parent)
    return path


def _is_graph(file: Path) -> bool:
    """True if some backend runs the bare file; otherwise it is a checkpoint."""
    return any(backend_named(name).opens(file) for name in backend_names())


def _of_graph(
    model: Bundle | Path,
    runs: Backend,
    *,
    device: str | None,
    imgsz: SizeHW | None,
    threads: int | None,
    views: Views,
) -> Predictor:
    outputs = ("labels",) if views == WHOLE else ("labels", "scores")
    runner = runs.open(
        model, device=runs.device_for(model, device), threads=threads, outputs=outputs
    )
    try:
        labels, preprocess, graph = _described(model)
        predictor = RunnerPredictor(runner, labels)
        if imgsz not in (None, predictor.input_hw):
            raise UsageError(
                "a graph has one image size",
                got="--imgsz {} {}".format(*imgsz),
                expected="{} {} (height width)".format(*predictor.minimum_hw),
                hint="Export another for another size.",
            )
        return _viewed(predictor, views, preprocess, lambda: upsamples_with_corners(graph))
    except ArtoolkitError:
        runner.close()
        raise


def _described(model: Bundle | Path) -> tuple[LabelTable, Preprocess, Path]:
    """The classes, the normalisation and the ONNX file of a graph; engines lie in their bundle."""
    if isinstance(model, Path) and model.parent.name == ENGINES:
        model = open_bundle(model.parent.parent)
    if isinstance(model, Bundle):
        return model.manifest.labels, model.manifest.preprocess, model.model
    told = {p.key: p.value for p in load_onnx(model, "reading its classes").metadata_props}
    try:
        labels = LabelTable.model_validate_json(told["labels"])
        return labels, Preprocess.model_validate_json(told["preprocess"]), model
    except (KeyError, ValidationError) as error:
        raise ExportError(
            f"{model} does not say its classes", hint="Export it again, or give its bundle."
        ) from error


def _viewed(
    predictor: Predictor, views: Views, preprocess: Preprocess, align_corners: Callable[[], bool]
) -> Predictor:
    if views == WHOLE:
        return predictor
    return ViewedPredictor(
        predictor, views, align_corners=align_corners(), fill=fill_color(preprocess)
    )


def predict(
    model: Model,
    images: str | os.PathLike[str] | Iterable[Pixels | str | os.PathLike[str]],
    *,
    network: RequestedNetwork | str | None = None,
    labels: LabelTable | None = None,
    backend: str | None = None,
    device: str | None = None,
    imgsz: SizeHW | None = None,
    threads: int | None = None,
    cuda_memory: CudaMemory | None = None,
    views: Views = WHOLE,
    progress: Progress | None = None,
) -> Iterator[Pixels]:
    """Label maps of images: uint8 train ids H x W of each image's size, one by one in order.

    model: a checkpoint, a bundle, an engine in a bundle or an .onnx file, or what is open already.
    images: an image file, a folder of them, or any iterable of files and uint8 RGB arrays
    H x W x 3.
    progress: called with words and the share that is done, where the number of images is known.

    The other arguments and the errors are those of `open_predictor`; `DataError` for an image that
    cannot be read.

    >>> import artoolkit
    >>> for labels in artoolkit.predict("runs/base/model.safetensors", "streets/leftImg8bit/val"):
    ...     print(labels.dtype, labels.shape)
    uint8 (64, 128)
    uint8 (64, 128)
    """
    if isinstance(images, (str, os.PathLike)):
        images = [job.image for job in jobs_of(Path(images))]
    total = len(images) if isinstance(images, Sized) else None
    with open_predictor(
        model, network=network, labels=labels, backend=backend, device=device, imgsz=imgsz,
        threads=threads, cuda_memory=cuda_memory, views=views,
    ) as predictor:  # fmt: skip
        found = predicted(predictor, images, lambda image: (_pixels(image), None))
        for done, (*_, train_ids) in enumerate(found, start=1):
            yield train_ids
            if progress and total:
                progress("predicting", done / total)


def _pixels(image: Pixels | str | os.PathLike[str]) -> Pixels:
    return image if isinstance(image, np.ndarray) else read_rgb(Path(image))
