"""What `predict` is asked, and what it writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from tiny import LABELS, tiny_bundle

from artoolkit.cli import run
from artoolkit.cli.predict import command
from artoolkit.errors import UsageError
from artoolkit.evaluation.opening import predict
from artoolkit.networks import build
from artoolkit.networks.checkpoint import Checkpoint, CheckpointMeta, write_checkpoint


def test_a_source_or_a_data_set_is_needed_but_not_both(tmp_path: Path) -> None:
    for arguments in ([], ["camera:0", "--dataset", "camvid"]):
        result = CliRunner().invoke(command, [str(tmp_path), *arguments, "--out", str(tmp_path)])
        assert isinstance(result.exception, UsageError)
        assert "SOURCE" in str(result.exception)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for index, size in enumerate(((40, 56), (61, 47))):
        pixels = np.random.default_rng(index).integers(0, 256, (*size, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    network = build("icnet", num_classes=3, width=0.125)
    path = tmp_path_factory.mktemp("run") / "model.safetensors"
    write_checkpoint(path, Checkpoint(CheckpointMeta.of(network, LABELS), network.state_dict()))
    return path


def test_a_checkpoint_needs_no_size_and_every_image_keeps_its_own(
    model: Path, images: Path, tmp_path: Path
) -> None:
    assert run(["predict", str(model), str(images), "--out", str(tmp_path), "--no-overlays"]) == 0
    for name, labels in zip(("0.png", "1.png"), predict(model, images), strict=True):
        with Image.open(tmp_path / "labels" / name) as written:
            np.testing.assert_array_equal(np.asarray(written), LABELS.to_file_ids(labels))


def test_views_and_size_reach_the_network(model: Path, images: Path, tmp_path: Path) -> None:
    how = ("--flip", "--imgsz", "64", "96", "--threads", "1")
    arguments = ["predict", str(model), str(images / "1.png"), "--out", str(tmp_path), *how]
    assert run(arguments) == 0
    with Image.open(tmp_path / "labels" / "1.png") as written:
        assert written.size == (47, 61)
    (plain,) = predict(model, images / "1.png", imgsz=(64, 96))
    assert (np.asarray(Image.open(tmp_path / "labels" / "1.png")) != plain).any()


def test_a_graph_is_predicted_with_as_a_bundle_and_as_a_file(images: Path, tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "bundle")
    for source, out in ((bundle.path, "a"), (bundle.model, "b")):
        assert run(["predict", str(source), str(images), "--out", str(tmp_path / out)]) == 0
    for name in ("0.png", "1.png"):
        maps = [(tmp_path / out / "labels" / name).read_bytes() for out in ("a", "b")]
        assert maps[0] == maps[1]


def test_what_cannot_be_is_an_exit_code(model: Path, images: Path, tmp_path: Path) -> None:
    def code(*arguments: object) -> int:
        return run(["predict", *map(str, arguments), "--out", str(tmp_path / "out")])

    assert code(tmp_path / "nothing", images) == 6
    assert code(model, images, "--backend", "onnxruntime") == 2
    assert code(model, images, "--window-stride", "8", "8") == 2
    assert code(model, images, "--imgsz", "8", "8") == 12
