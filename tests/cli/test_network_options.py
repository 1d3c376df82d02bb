"""`--network` and what belongs to it, as commands give it on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
import torch
from click.testing import CliRunner

from artoolkit.cli import run
from artoolkit.cli.network_options import network_options, option_value, requested_network
from artoolkit.errors import UsageError
from artoolkit.labels import LabelTable
from artoolkit.networks import build
from artoolkit.networks.checkpoint import write_checkpoint
from artoolkit.networks.factory import TRUSTED_VARIABLE
from artoolkit.networks.loading import load
from artoolkit.spec import RequestedNetwork

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


def asked_with(*arguments: str) -> RequestedNetwork:
    found: list[RequestedNetwork] = []

    @click.command()
    @network_options()
    def command(**values: Any) -> None:
        found.append(requested_network(values))
        assert not values

    result = CliRunner().invoke(command, arguments, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return found[0]


def test_options_become_those_of_the_network() -> None:
    assert asked_with() == RequestedNetwork()
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


def test_naming_a_network_trusts_it(weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_checkpoint(path, load(weights, network=OWN, labels=THREE))
    for network, code in (("other:Net", 5), (OWN, 4)):
        # The first is refused; the second gets as far as a picture that is not there.
        command = ("predict", str(path), str(tmp_path), "--out", str(tmp_path), "--imgsz", "32")
        (tmp_path / "empty.png").write_bytes(b"")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(TRUSTED_VARIABLE, "")
            assert run((*command, "32", "--network", network)) == code
