"""A candidate that carries its baseline, a verdict with its measurements, and an engine."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from sidecars import write_plan
from tiny import HEIGHT, LABELS, WIDTH, tiny_bundle

from artoolkit.backends.backend import ProgramComparison
from artoolkit.backends.tensorrt import RTX
from artoolkit.checks.compare import compare
from artoolkit.cost.latency_record import LatencySettings
from artoolkit.data import Sample
from artoolkit.evidence.bundle import Bundle, open_bundle, write_bundle

# As quick as it goes: what the latency check says is tested elsewhere.
QUICK = LatencySettings(pairs=4, inferences=2, block_ms=0, warmup_ms=1, budget_s=1)


class Scenes:
    """Ten images of noise with labels that no network knows."""

    name, root, labels = "scenes", Path(), LABELS

    def splits(self) -> tuple[str, ...]:
        return ("val",)

    def samples(self, split: str) -> tuple[Sample, ...]:
        return tuple(Sample(f"{split}{i}", Path(), Path()) for i in range(10))

    def _random(self, sample: Sample, *shape: int, high: int) -> np.ndarray:
        random = np.random.default_rng(int(sample.name[-1]))
        return random.integers(0, high, shape).astype(np.uint8)

    def read_image(self, sample: Sample) -> np.ndarray:
        return self._random(sample, HEIGHT, WIDTH, 3, high=256)

    def read_label(self, sample: Sample) -> np.ndarray:
        return self._random(sample, HEIGHT, WIDTH, high=3)

    def prediction_name(self, sample: Sample) -> str:
        return f"{sample.name}.png"


def without_rtx(patch: pytest.MonkeyPatch) -> None:
    """Programs compiled ahead of time are compared elsewhere, and take seconds."""
    answer = ProgramComparison(result="UNAVAILABLE", headline="compared elsewhere")
    patch.setattr(RTX, "compare_programs", lambda *models, **how: answer)


def judged_bundle(folder: Path, *, network: str = "tiny", extra_node: bool = False) -> Bundle:
    """As `artoolkit export CKPT --baseline BASE` and `build` leave it, of the tiny network."""
    folder.mkdir(exist_ok=True)
    baseline = tiny_bundle(folder / "base")
    other = tiny_bundle(folder / "other", seed=1, extra_node=extra_node)
    golden, manifest = other.golden(), other.manifest
    bundle = write_bundle(
        folder / "bundle",
        model=other.model,
        golden_images=golden["images"],
        golden_labels=golden["labels"],
        network=network,
        labels=manifest.labels,
        preprocess=manifest.preprocess,
        target=manifest.target,
        trained=manifest.trained,
        provenance={
            "commit": "0" * 40,
            "checkpoint": "1" * 64,
            "training": {
                "baseline": {"sha256": "2" * 64},
                "data": {"train": {"images": 6, "sha256": "3" * 64}},
            },
        },
        baseline=baseline.path,
    )
    with pytest.MonkeyPatch.context() as patch:
        without_rtx(patch)
        compare(bundle, plan=QUICK, process_memory=False, dataset=Scenes())
    write_plan(bundle)
    return open_bundle(bundle.path)


@dataclass(frozen=True)
class Copies:
    """Fresh copies of one bundle, since judging it takes a while."""

    source: Path

    def new(self, folder: Path) -> Bundle:
        return open_bundle(Path(shutil.copytree(self.source, folder / "bundle")))
