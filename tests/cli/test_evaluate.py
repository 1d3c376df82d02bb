"""`artoolkit evaluate` of a checkpoint and of a bundle, on generated street scenes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from tiny import tiny_bundle

from artoolkit.cli import main, run
from artoolkit.data import open_dataset
from artoolkit.evaluation.quality import QualityMeasurement
from artoolkit.evidence.records import read_record
from artoolkit.networks import build
from artoolkit.networks.checkpoint import Checkpoint, CheckpointMeta, write_checkpoint

SIZE = ("64", "128")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("streets") / "set"
    size = ("--train", "1", "--val", "2", "--imgsz", *SIZE, "--workers", "1")
    assert run(["data", "synthesize", str(folder), *size]) == 0
    return folder


@pytest.fixture(scope="module")
def checkpoint(root: Path) -> Checkpoint:
    torch.manual_seed(0)
    network = build("icnet", num_classes=19)
    meta = CheckpointMeta(
        network="icnet",
        num_classes=19,
        labels=open_dataset("cityscapes", root).labels,
        preprocess=network.preprocess,
    )
    return Checkpoint(meta, network.state_dict())


@pytest.fixture(scope="module")
def model(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "model.safetensors"
    write_checkpoint(path, checkpoint)
    return path


def evaluate(model: Path, root: Path, *more: str) -> Result:
    arguments = ["evaluate", str(model), "--dataset", "cityscapes", "--data-root", str(root)]
    return CliRunner().invoke(main, [*arguments, *more])


def test_a_checkpoint_prints_mmsegmentations_keys(model: Path, root: Path, tmp_path: Path) -> None:
    out = tmp_path / "q.json"
    result = evaluate(model, root, "--json", "--out", str(out))
    assert result.exit_code == 0, result.output
    metrics = json.loads(result.stdout)
    assert {"mIoU", "aAcc", "IoU.road"} <= set(metrics)
    record = read_record(out, QualityMeasurement)
    assert record.metrics == metrics
    assert record.predictor["backend"] == "torch"
    assert len(record.images) == 2


def test_the_table_names_the_network_and_the_split(model: Path, root: Path) -> None:
    result = evaluate(model, root)
    assert "model.safetensors on cityscapes val" in result.stdout
    assert "IoU.road" in result.stdout
    assert "2 images, one confusion matrix each" in result.stdout


def test_windows_are_recorded_with_the_measurement(model: Path, root: Path, tmp_path: Path) -> None:
    out = tmp_path / "q.json"
    result = evaluate(model, root, "--window", "64", "96", "--flip", "--out", str(out))
    assert result.exit_code == 0, result.output
    predictor = read_record(out, QualityMeasurement).predictor
    assert (predictor["window"], predictor["flip"], predictor["stride"]) == ([64, 96], True, None)


def test_what_cannot_be_evaluated_is_one_line(model: Path, root: Path, tmp_path: Path) -> None:
    assert evaluate(model, root, "--backend", "onnxruntime").exit_code == 2
    bundle = tiny_bundle(tmp_path / "bundle")
    other_classes = evaluate(bundle.path, root)
    assert other_classes.exit_code == 4
    assert "have different classes" in other_classes.stderr
    for views in (("--imgsz", "32", "32"), ("--window", "32", "32"), ("--scales", "0.5,1")):
        assert evaluate(bundle.path, root, *views).exit_code == 2
    gaps = evaluate(model, root, "--window", "32", "32", "--window-stride", "33", "32")
    assert gaps.exit_code == 2
    assert "leaves pixels out" in gaps.stderr
    assert evaluate(model, root, "--split", "nowhere").exit_code == 4
    assert evaluate(model, tmp_path / "missing").exit_code == 4
