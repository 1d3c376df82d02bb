"""`--network` and what belongs to it, as commands give it on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
import torch
from click.testing import CliRunner

from artoolkit.cli import run
from artoolkit.cli.network_options import (
    AskedNetwork,
    asked_network,
    described,
    network_options,
    open_checkpoint,
    option_value,
)
from artoolkit.data import cityscapes
from artoolkit.errors import CheckpointError, UsageError
from artoolkit.labels import LabelTable
from artoolkit.networks import build
from artoolkit.networks.checkpoint import write_checkpoint
from artoolkit.networks.custom import TRUSTED_VARIABLE

THREE = LabelTable(name="three", names=tuple("abc"), colors=((1, 2, 3),) * 3, file_ids=(0, 1, 2))
OWN = "own_network:Plain"


@pytest.fixture(autouse=True)
def nothing_trusted_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRUSTED_VARIABLE, "")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "own.pth"
    torch.save(build(OWN, num_classes=3).module.state_dict(), path)
    return path


def asked_with(*arguments: str) -> AskedNetwork:
    found: list[AskedNetwork] = []

    @click.command()
    @network_options()
    def command(**values: Any) -> None:
        found.append(asked_network(values))
        assert not values

    result = CliRunner().invoke(command, arguments, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return found[0]


def test_options_become_those_of_the_network() -> None:
    assert asked_with() == AskedNetwork()
    asked = asked_with(
        "--network", OWN, "--mean", "1,2,3", "--std=4,5,6", "--channel-order", "bgr",
        "--no-align-corners", "--option", 'arguments={"channels": 4}', "--layout", "auto",
    )  # fmt: skip
    assert (asked.name, asked.layout) == (OWN, None)
    network = build(OWN, num_classes=3, **asked.options)
    assert network.module.trunk.out_channels == 4
    assert (network.preprocess.mean, network.preprocess.channel_order) == ((1, 2, 3), "bgr")
    assert network.align_corners is False
    with pytest.raises(UsageError, match="--mean takes 3 numbers with commas; got 2"):
        asked_with("--mean", "1,2")
    assert option_value("width=0.5") == ("width", 0.5)
    assert option_value("pooling=caffe") == ("pooling", "caffe")


def test_another_network_replaces_the_recipes_and_the_same_one_changes_values() -> None:
    asked = AskedNetwork(name="icnet", options={"width": 0.25})
    table = {"name": "icnet", "layout": None, "options": {"width": 0.25}}
    assert asked.changes("icnet_r50") == {"network": table}
    assert asked.changes("icnet") == {"network.options.width": 0.25}
    assert AskedNetwork(layout="semseg").changes("pspnet50") == {"network.layout": "semseg"}


def test_weights_of_others_open_where_their_network_is_named(weights: Path) -> None:
    with pytest.raises(CheckpointError, match=r"is a pickle.*--network says whose they are"):
        open_checkpoint(weights, AskedNetwork())
    asked = AskedNetwork(name=OWN, options={"align_corners": True})
    with pytest.raises(UsageError, match=r"how many classes .*own.pth has; expected --dataset"):
        open_checkpoint(weights, asked)
    opened = open_checkpoint(weights, asked, lambda: THREE)
    assert (opened.meta.labels, opened.path) == (THREE, weights)
    assert described(opened) == (
        f"{OWN}, 3 classes of three, layout own, RGB mean (123.675, 116.28, 103.53) "
        "std (58.395, 57.12, 57.375), align_corners yes"
    )
    again = open_checkpoint(weights, AskedNetwork.of(opened), lambda: THREE)
    assert again.meta == opened.meta
    with pytest.raises(CheckpointError, match=r"\(3, 8, 1, 1\) instead of \(19, 8, 1, 1\)"):
        open_checkpoint(weights, asked, lambda: cityscapes.LABELS)


def test_a_checkpoint_is_of_the_network_that_is_asked_for(weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_checkpoint(path, open_checkpoint(weights, AskedNetwork(name=OWN), lambda: THREE))
    assert open_checkpoint(path, AskedNetwork()).meta.network == OWN
    with pytest.raises(CheckpointError, match=f"another network; got {OWN}; expected icnet"):
        open_checkpoint(path, AskedNetwork(name="icnet"))
    with pytest.raises(CheckpointError, match="another align corners; got its default"):
        open_checkpoint(path, AskedNetwork(options={"align_corners": True}))


def test_naming_a_network_trusts_it(weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_checkpoint(path, open_checkpoint(weights, AskedNetwork(name=OWN), lambda: THREE))
    for network, code in (("other:Net", 5), (OWN, 4)):
        # The first is refused; the second gets as far as a picture that is not there.
        command = ("predict", str(path), str(tmp_path), "--out", str(tmp_path), "--imgsz", "32")
        (tmp_path / "empty.png").write_bytes(b"")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(TRUSTED_VARIABLE, "")
            assert run((*command, "32", "--network", network)) == code
