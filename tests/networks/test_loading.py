"""`load`: artoolkit's own checkpoints, and weights of others where their network is named."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from artoolkit.data import cityscapes
from artoolkit.errors import CheckpointError, UsageError
from artoolkit.labels import LabelTable
from artoolkit.networks import build
from artoolkit.networks.checkpoint import write_checkpoint
from artoolkit.networks.factory import TRUSTED_VARIABLE
from artoolkit.networks.loading import described, load
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


def test_weights_of_others_open_where_their_network_is_named(
    weights: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "artoolkit")
    with pytest.raises(CheckpointError, match=r"is a pickle.*--network says whose they are"):
        load(weights)
    own = RequestedNetwork(name=OWN, options={"align_corners": True})
    with pytest.raises(UsageError, match=r"how many classes .*own.pth has; expected --dataset"):
        load(weights, network=own)
    opened = load(weights, network=own, labels=lambda: THREE)
    assert (opened.meta.labels, opened.path) == (THREE, weights)
    assert described(opened) == (
        f"{OWN}, 3 classes of three, layout own, RGB mean (123.675, 116.28, 103.53) "
        "std (58.395, 57.12, 57.375), align_corners yes"
    )
    assert caplog.messages == [f"{weights}: {described(opened)}"]
    assert load(opened) is opened
    with pytest.raises(CheckpointError, match=r"\(3, 8, 1, 1\) instead of \(19, 8, 1, 1\)"):
        load(weights, network=own, labels=cityscapes.LABELS)


def test_a_checkpoint_is_of_the_network_that_is_asked_for(
    weights: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "model.safetensors"
    write_checkpoint(path, load(weights, network=OWN, labels=THREE))
    caplog.clear()
    assert load(str(path)).meta.network == OWN
    assert not caplog.messages
    with pytest.raises(CheckpointError, match=f"another network; got {OWN}; expected icnet"):
        load(path, network="icnet")
    with pytest.raises(CheckpointError, match="another align corners; got its default"):
        load(path, network=RequestedNetwork(options={"align_corners": True}))
