"""One checkpoint, one image, one size: the same labels wherever artoolkit computes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from streets import TABLE, Streets

from artoolkit.cli import run
from artoolkit.evaluation.opening import predict
from artoolkit.evaluation.quality import evaluate
from artoolkit.metrics import confusion_matrix, summary
from artoolkit.networks.checkpoint import read_checkpoint
from artoolkit.training.assembly import build_network, checkpoint_of
from artoolkit.training.examination import examine
from artoolkit.training.recipe import Recipe
from artoolkit.training.run import start

SIZES = [None, [48, 64]]


@pytest.mark.parametrize("imgsz", SIZES)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training_evaluate_predict_and_the_experiment_agree_to_the_bit(
    tiny: Callable[..., Recipe], tmp_path: Path, precision: str, imgsz: list[int] | None
) -> None:
    recipe = tiny(
        {
            "schedule.epochs": 1,
            "optimizer.lr": 1e-4,
            "optimizer.freeze_bn": True,
            "execution.precision": precision,
            "evaluation.imgsz": imgsz,
        }
    )
    data, out = Streets(count=4), tmp_path / "run"
    network = build_network(recipe, TABLE, seed=1)
    # As built it gives every class nearly the same score, and a short run one class alone.
    torch.nn.init.normal_(network.get_parameter("classifier.weight"))
    base = checkpoint_of(network, recipe, TABLE, {})
    outcome = start(recipe, data, out, baseline=base)
    model, samples = out / "model.safetensors", data.samples("val")
    size = None if imgsz is None else (imgsz[0], imgsz[1])

    images = tmp_path / "images"
    images.mkdir()
    for sample in samples:
        Image.fromarray(data.read_image(sample)).save(images / f"{sample.name}.png")
    asked = () if size is None else ("--imgsz", *map(str, size))
    assert run(["predict", str(model), str(images), "--out", str(tmp_path / "maps"), *asked]) == 0
    written = [
        np.asarray(Image.open(tmp_path / "maps" / "labels" / f"{sample.name}.png"))
        for sample in samples
    ]
    assert len(np.unique(written)) > 1
    for file, labels in zip(written, predict(model, images, imgsz=size), strict=True):
        np.testing.assert_array_equal(file, labels)

    record = evaluate(model, data, imgsz=size)
    counted = [
        confusion_matrix(labels, data.read_label(sample), num_classes=TABLE.num_classes)
        for labels, sample in zip(written, samples, strict=True)
    ]
    np.testing.assert_array_equal(record.matrices(), counted)
    examined = examine(read_checkpoint(model).network(), data, samples, imgsz=size)
    np.testing.assert_array_equal(examined.whole, np.sum(counted, 0))
    metrics = {name: outcome.metrics[name] for name in summary(examined.whole, TABLE.names)}
    assert metrics == summary(examined.whole, TABLE.names) == record.metrics
