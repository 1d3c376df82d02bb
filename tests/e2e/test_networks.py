"""Every network end to end: two steps with AR, stopped and resumed between them, then exported."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pytest
from streets import TABLE, Streets

from artoolkit.backends.onnxruntime.runner import open_onnxruntime
from artoolkit.deploy.export import export_bundle
from artoolkit.deploy.trained import LabelledImage, open_trained, parity_of_export
from artoolkit.networks import NETWORKS
from artoolkit.networks.checkpoint import read_checkpoint
from artoolkit.targets import find_target
from artoolkit.training.engine import Row
from artoolkit.training.recipe import Recipe, recipe_from_values
from artoolkit.training.run import resume, start
from artoolkit.training.watcher import Silent

SIZE = (64, 96)


class StopsAfterOneStep(Silent):
    def stepped(self, row: Row) -> None:
        if row["step"] == 1:
            signal.raise_signal(signal.SIGINT)


def two_steps(network: str) -> Recipe:
    return recipe_from_values(
        {
            "name": "two-steps",
            "network": {"name": network, "options": {"width": 0.0625}},
            "augmentation": {"crop": list(SIZE)},
            "schedule": {"epochs": 1, "batch_size": 2},
            "optimizer": {"lr": 0.01},
            "loss": {"ar_weight": 0.1},
            "execution": {"precision": "fp32"},
        },
        network,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_train_resume_export_and_the_same_labels(name: str, tmp_path: Path) -> None:
    data, run = Streets(count=4), tmp_path / "run"
    stopped = start(two_steps(name), data, run, watcher=StopsAfterOneStep())
    assert not stopped.finished
    assert stopped.progress.step == 1
    finished = resume(run, data)
    assert finished.finished
    assert 0 <= finished.metrics["mIoU"] <= 100
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = [row for row in rows if row["kind"] == "iteration"]
    assert [row["step"] for row in steps] == [1, 2]
    assert all(np.isfinite(row["affinity_regression"]) for row in steps)

    checkpoint = read_checkpoint(run / "model.safetensors")
    assert checkpoint.meta.recipe["loss"]["ar_weight"] == 0.1
    target = find_target("cpu", imgsz=SIZE)
    labelled = [LabelledImage(data.read_image(sample)) for sample in data.samples("val")]
    bundle = export_bundle(
        checkpoint, target, tmp_path / "bundle", images=[one.image for one in labelled]
    )
    assert bundle.manifest.labels == TABLE
    parity = parity_of_export(checkpoint, bundle.model, target, labelled)
    # After two steps a deep network's statistics are off and its scores large: relative, then.
    assert (parity.agreement, parity.images) == (1.0, 2)
    assert parity.scores_max_rel < 1e-4
    noise = np.random.default_rng(0).integers(0, 256, (1, *SIZE, 3)).astype(np.uint8)
    with open_trained(checkpoint, target) as ours, open_onnxruntime(bundle.model) as exported:
        assert np.array_equal(ours.infer(noise)["labels"], exported.infer(noise)["labels"])
