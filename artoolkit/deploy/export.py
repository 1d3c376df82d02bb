"""A checkpoint, and its baseline, as the bundle that a device gets.

Either the whole bundle appears at its place or nothing does. What depends on the weights is decided
once, on the baseline, and reused for the candidate: otherwise the two graphs could not be equal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from artoolkit.backends.onnxruntime.runner import open_onnxruntime
from artoolkit.commit import source_commit
from artoolkit.deploy.onnx import OnnxInfo, graph_from_checkpoint, write_onnx
from artoolkit.deploy.quantize import Calibration, FloatLayers, calibrate, quantized
from artoolkit.deploy.sensitivity import Progress
from artoolkit.deploy.trained import BOTH, open_trained
from artoolkit.errors import BackendError, ExportError
from artoolkit.evidence.bundle import Bundle, require_free, write_bundle
from artoolkit.evidence.folders import scratch_folder
from artoolkit.evidence.seal import file_sha256
from artoolkit.networks.checkpoint import Checkpoint
from artoolkit.preprocess import fit_image
from artoolkit.spec import SessionOptions, Target
from artoolkit.words import AUTO

Images = Sequence[NDArray[np.uint8]]
# A model and images that fit it -> the session options to use, and how they were found.
Tune = Callable[[Path, NDArray[np.uint8]], tuple[SessionOptions, dict[str, Any]]]


def export_bundle(
    checkpoint: Checkpoint,
    target: Target,
    out: Path,
    *,
    images: Images,
    baseline: Checkpoint | None = None,
    provenance: Mapping[str, Any] | None = None,
    calibration_images: Images = (),
    float_layers: FloatLayers = AUTO,
    tune: Tune | None = None,
    overwrite: bool = False,
    progress: Progress = lambda what, share: None,
) -> Bundle:
    """Export `checkpoint` for `target` to the folder `out`, with `baseline` as a bundle inside.

    `images`: uint8 RGB H x W x 3 of any size; fitted to the target's size they are the golden
    inputs, with the labels that the trained network itself gives them in float32. int8 is
    calibrated on `calibration_images` (the golden ones where there are none), its `float_layers`
    found on them or given. `tune` measures the target's session options with the baseline's model.
    Raises
    `ExportError`, `UsageError` where `out` is taken, `StorageError` where it cannot be written.
    """
    require_free(out, overwrite=overwrite)
    if not images:
        raise ExportError("a bundle needs at least one golden image", hint="Give a data set.")
    golden = _fitted(images, target)
    calibration = None
    if target.precision == "int8":
        calibration_set = _fitted(calibration_images, target) if calibration_images else golden
        calibration = calibrate(
            baseline or checkpoint,
            target,
            calibration_set,
            float_layers=float_layers,
            progress=progress,
        )
    job = _Job(target, golden, calibration, dict(provenance or {}))
    with scratch_folder(out) as scratch:
        inner = None
        if tune is not None:
            job = job.tuned(tune, baseline or checkpoint, scratch / "tuned.onnx")
        if baseline is not None:
            inner = scratch / "baseline"
            job.write(baseline, inner, scratch=scratch)
        return job.write(checkpoint, out, scratch=scratch, baseline=inner, overwrite=overwrite)


@dataclass(frozen=True)
class _Job:
    """Settings that baseline and candidate share."""

    target: Target
    golden: NDArray[np.uint8]
    calibration: Calibration | None
    provenance: dict[str, Any]

    def tuned(self, tune: Tune, checkpoint: Checkpoint, scratch: Path) -> _Job:
        """The same with measured session options: of one model, so that both bundles have them."""
        batch = np.resize(self.golden, (self.target.batch, *self.golden.shape[1:]))
        chosen, measured = tune(self._model(checkpoint, scratch).path, batch)
        scratch.unlink()
        return replace(
            self,
            target=self.target.model_copy(update={"session": chosen}),
            provenance=self.provenance | {"session": measured},
        )

    def write(
        self,
        checkpoint: Checkpoint,
        out: Path,
        *,
        scratch: Path,
        baseline: Path | None = None,
        overwrite: bool = False,
    ) -> Bundle:
        info = self._model(checkpoint, scratch / "model.onnx")
        self._run(info.path)
        meta = checkpoint.meta
        return write_bundle(
            out,
            model=info.path,
            golden_images=self.golden,
            golden_labels=trained_labels(checkpoint, self.target, self.golden),
            network=meta.network,
            labels=meta.labels,
            preprocess=meta.preprocess,
            target=self.target,
            trained=info.trained,
            provenance=self._provenance(checkpoint, info),
            baseline=baseline,
            overwrite=overwrite,
        )

    def _model(self, checkpoint: Checkpoint, path: Path) -> OnnxInfo:
        model, trained = graph_from_checkpoint(checkpoint, self.target)
        if self.calibration is not None:
            model, trained = quantized(model, trained, self.target, self.calibration)
        return write_onnx(model, trained, path)

    def _run(self, path: Path) -> None:
        """Opens and runs the file once, before it is handed to anyone.

        `ExportError` where ONNX Runtime refuses it, or labels have another form than promised.
        """
        images = np.resize(self.golden, (self.target.batch, *self.golden.shape[1:]))
        try:
            with open_onnxruntime(path, threads=self.target.threads) as runner:
                labels = runner.infer(images)["labels"]
        except BackendError as error:
            raise ExportError(
                f"the exported file does not run: {error.what}", got=error.got, hint=error.hint
            ) from error
        expected = (self.target.batch, *self.target.labels_hw)
        if labels.shape != expected:
            raise ExportError("other labels than promised", got=labels.shape, expected=expected)

    def _provenance(self, checkpoint: Checkpoint, info: OnnxInfo) -> dict[str, Any]:
        source = checkpoint.path
        found: dict[str, Any] = {
            "checkpoint": file_sha256(source) if source else None,
            "commit": source_commit(),
            "training": checkpoint.meta.provenance,
            "recipe": checkpoint.meta.recipe,
            "census": dict(info.census),
            "torch": torch.__version__,
        }
        if self.calibration is not None:
            found["calibration"] = self.calibration.model_dump(mode="json")
        return found | self.provenance


def trained_labels(
    checkpoint: Checkpoint, target: Target, images: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """uint8 N x H x W x 3 -> uint8 N x H x W: what the trained network says, in float32.

    Raises `ExportError` where a score is not finite, in float32 or in the target's fp16: labels of
    such scores are 0 everywhere, and agree with whatever is infinite as well.
    """
    one = target.model_copy(update={"batch": 1})
    if target.precision == "fp16":
        with open_trained(checkpoint, one, outputs=BOTH, exact=False) as runner:
            for index, image in enumerate(images):
                _check_finite(runner.infer(image[None])["scores"], index, "fp16")
    labels = []
    with open_trained(checkpoint, one, outputs=BOTH) as runner:
        for index, image in enumerate(images):
            found = runner.infer(image[None])
            _check_finite(found["scores"], index, "float32")
            labels.append(found["labels"])
    return np.concatenate(labels)


def _check_finite(scores: NDArray[np.floating[Any]], index: int, precision: str) -> None:
    if not np.isfinite(scores).all():
        raise ExportError(
            f"golden image {index} has scores in {precision} that are not finite",
            got=f"{1 - np.isfinite(scores).mean():.1%} of them",
            hint="Values beyond 65504 are infinite in fp16: export with --precision fp32, or train "
            "the network with a smaller learning rate.",
        )


def _fitted(images: Images, target: Target) -> NDArray[np.uint8]:
    return np.stack([fit_image(image, target.imgsz) for image in images])
