"""Bundles around the tiny network, for tests of engines, sidecars and runners."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from tiny_networks import TRAINED, write_tiny

from artoolkit.data import Sample
from artoolkit.evidence.bundle import Bundle, write_bundle
from artoolkit.labels import LabelTable
from artoolkit.preprocess import Preprocess
from artoolkit.spec import Target
from artoolkit.targets import find_target

LABELS = LabelTable(
    name="four",
    names=("road", "wall", "sky", "pole"),
    colors=((1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 4, 4)),
    file_ids=(0, 1, 2, 3),
)
SIZE_HW = (32, 64)


class RedScenes:
    """Three images whose labels are red modulo 4, which is what the faked engine says."""

    name, root, labels = "scenes", Path(), LABELS

    def splits(self) -> tuple[str, ...]:
        return ("val",)

    def samples(self, split: str) -> tuple[Sample, ...]:
        return tuple(Sample(f"{split}{i}", Path(), Path()) for i in range(3))

    def read_image(self, sample: Sample) -> np.ndarray:
        random = np.random.default_rng(int(sample.name[-1]))
        return random.integers(0, 256, (*SIZE_HW, 3), dtype=np.uint8)

    def read_label(self, sample: Sample) -> np.ndarray:
        return self.read_image(sample)[..., 0] % 4

    def prediction_name(self, sample: Sample) -> str:
        return f"{sample.name}.png"


def tiny_target(name: str = "rtx-40", **changes: Any) -> Target:
    return find_target(name, **{"imgsz": SIZE_HW, "precision": "fp32", **changes})


def tiny_bundle(folder: Path, target: Target | None = None, *, seed: int = 0) -> Bundle:
    """A bundle whose golden labels are those that the faked GPU gives."""
    model = write_tiny(folder / f"model{seed}.onnx", seed=seed, size_hw=SIZE_HW)
    images = np.random.default_rng(seed).integers(0, 256, (1, *SIZE_HW, 3), dtype=np.uint8)
    return write_bundle(
        folder / f"bundle{seed}",
        model=model,
        golden_images=images,
        golden_labels=images[..., 0] % 4,
        network="tiny",
        labels=LABELS,
        preprocess=Preprocess(),
        target=target or tiny_target(),
        trained=TRAINED,
        provenance={},
    )
