"""A candidate that carries its baseline, a verdict with its measurements, and an engine."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from sidecars import write_plan

from artoolkit.bundle import Bundle, open_bundle, write_bundle
from artoolkit.measure import compare
from artoolkit.measure.compare import Settings, compare_bundles, unavailable
from measure.test_compare import QUICK, Scenes
from measure.tiny import tiny_bundle


def judged_bundle(folder: Path, *, network: str = "tiny") -> Bundle:
    """As `artoolkit export CKPT --baseline BASE` and `build` leave it, of the tiny network."""
    baseline, other = tiny_bundle(folder / "base"), tiny_bundle(folder / "other", seed=1)
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
    inner = bundle.baseline
    assert inner is not None, "just written"
    settings = Settings(plan=QUICK, process_memory=False, dataset=Scenes())
    with pytest.MonkeyPatch.context() as patch:
        # Compiled programs are compared elsewhere, and take seconds.
        patch.setattr(
            compare, "rtx_plan", lambda name, _, required: unavailable(name, "", required=required)
        )
        compare_bundles(bundle, inner, settings)
    write_plan(bundle)
    return open_bundle(bundle.path)


@dataclass(frozen=True)
class Copies:
    """Fresh copies of one bundle, since judging it takes a while."""

    source: Path

    def new(self, folder: Path) -> Bundle:
        return open_bundle(Path(shutil.copytree(self.source, folder / "bundle")))
