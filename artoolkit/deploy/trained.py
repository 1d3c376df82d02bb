"""The exported network against the trained one: what the `outputs` check is made of.

The reference is the checkpoint itself in torch, in float32, wrapped as it is deployed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from artoolkit.backends.onnxruntime.runner import open_onnxruntime
from artoolkit.backends.runner import Runner
from artoolkit.backends.torch.runner import TorchRunner, open_torch
from artoolkit.deploy.graph import LabelsAndScores, deployed_module
from artoolkit.deploy.parity import Parity, compare_outputs
from artoolkit.labels import VOID
from artoolkit.networks.checkpoint import Checkpoint
from artoolkit.preprocess import fit_image, fit_labels
from artoolkit.spec import Target

BOTH = ("labels", "scores")
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class LabelledImage:
    """A uint8 RGB image H x W x 3 and its train ids H x W, None where it has no label."""

    image: Pixels
    labels: Pixels | None = None


def open_trained(
    checkpoint: Checkpoint,
    target: Target,
    *,
    outputs: tuple[str, ...] = ("labels",),
    exact: bool = True,
) -> TorchRunner:
    """The trained network in torch, taking uint8 images and giving uint8 labels.

    It computes in float32; not `exact`: in the target's own precision.
    """
    plain = target.plain
    if not exact:
        plain = plain.model_copy(update={"precision": target.precision})
    deployed = deployed_module(checkpoint.network(), checkpoint.meta.preprocess, plain)
    module = LabelsAndScores(deployed) if "scores" in outputs else deployed
    return open_torch(module, (target.batch, *target.imgsz, 3), outputs=outputs)


def parity_of_export(
    checkpoint: Checkpoint,
    model: Path,
    target: Target,
    labelled: Sequence[LabelledImage],
    exported: Runner | None = None,
) -> Parity:
    """Scores and labels of the exported `model` against the trained network's.

    `exported` is the runner of it, open with the outputs `BOTH`; None: ONNX Runtime on the CPU.
    """
    if exported is None:
        exported = open_onnxruntime(model, outputs=BOTH, threads=target.threads)
    with open_trained(checkpoint, target, outputs=BOTH) as trained, exported:
        return compare_outputs(trained, exported, _batches(labelled, target))


def _batches(labelled: Sequence[LabelledImage], target: Target) -> Iterator[tuple[Pixels, Pixels]]:
    """Full batches at the target's size; what fills the last one up is void, so not counted."""
    for start in range(0, len(labelled), target.batch):
        part = labelled[start : start + target.batch]
        images = [fit_image(one.image, target.imgsz) for one in part]
        labels = [_labels(one, target) for one in part]
        missing = target.batch - len(part)
        images += images[-1:] * missing
        labels += [np.full(target.labels_hw, VOID, np.uint8)] * missing
        yield np.stack(images), np.stack(labels)


def _labels(one: LabelledImage, target: Target) -> Pixels:
    """Labels of an image; without labels every pixel counts."""
    if one.labels is None:
        return np.zeros(target.labels_hw, np.uint8)
    return fit_labels(one.labels, target.labels_hw)
