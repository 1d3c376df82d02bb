"""A baseline bundle and a candidate of the same tiny network with other weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_onnx import CLASSES, HEIGHT, WIDTH, write_tiny

from artoolkit.backends.onnxruntime import open_onnxruntime
from artoolkit.bundle import Bundle, write_bundle
from artoolkit.labels import LabelTable
from artoolkit.preprocess import Preprocess
from artoolkit.spec import Target

LABELS = LabelTable(
    name="tiny",
    names=tuple("abc"[:CLASSES]),
    colors=((0, 0, 0), (1, 1, 1), (2, 2, 2)),
    file_ids=(0, 1, 2),
)


def tiny_bundle(out: Path, *, seed: int = 0, extra_node: bool = False, **target: object) -> Bundle:
    """A bundle of the tiny network whose golden labels are its own."""
    model = write_tiny(out.with_suffix(".onnx"), seed=seed, extra_node=extra_node)
    images = np.random.default_rng(0).integers(0, 256, (4, HEIGHT, WIDTH, 3)).astype(np.uint8)
    with open_onnxruntime(model, threads=1) as runner:
        labels = np.concatenate([runner.infer(image[None])["labels"] for image in images])
    values = {"name": "cpu", "imgsz": (HEIGHT, WIDTH), "threads": 1} | target
    return write_bundle(
        out,
        model=model,
        golden_images=images,
        golden_labels=labels,
        network="tiny",
        labels=LABELS,
        preprocess=Preprocess(),
        target=Target.model_validate(values),
        trained=("conv.weight",),
        provenance={},
    )


@pytest.fixture
def baseline(tmp_path: Path) -> Bundle:
    return tiny_bundle(tmp_path / "baseline")


@pytest.fixture
def candidate(tmp_path: Path) -> Bundle:
    return tiny_bundle(tmp_path / "candidate", seed=1)
