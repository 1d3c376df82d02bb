"""What a network of others was trained with is found out from a few labelled images."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from artoolkit.cli import run
from artoolkit.data.image_files import write_png
from artoolkit.networks.checkpoint import read_checkpoint

MODULE = """
import torch
from torch import nn

class Colors(nn.Module):
    '''Scores are the negative distances of a pixel from three colors, in its own convention.'''
    def __init__(self, num_classes, two=False):
        super().__init__()
        self.score = nn.Conv2d(3, num_classes, 1)
        self.other = nn.Conv2d(3, num_classes, 1)
        self.two = two
    def forward(self, x):
        return (self.other(x), self.score(x)) if self.two else self.score(x)
"""
# Close to each other, so that a wrong mean or order moves pixels over the borders.
COLORS = np.array([(140, 100, 80), (120, 110, 110), (100, 130, 120)], np.float32)
CAFFE_BGR = np.array([104.008, 116.669, 122.679], np.float32)
CLASSES = """
[[classes]]
name = "a"
[[classes]]
name = "b"
[[classes]]
name = "c"
[splits.val]
images = "images"
labels = "labels"
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Noisy images of three colors, and weights that want BGR less Caffe's mean."""
    random = np.random.default_rng(0)
    for name in "ab":
        labels = np.kron(random.integers(0, 3, (4, 6)), np.ones((16, 16))).astype(np.uint8)
        pixels = COLORS[labels] + random.normal(0, 4, (*labels.shape, 3))
        write_png(np.clip(pixels, 0, 255).astype(np.uint8), tmp_path / "images" / f"{name}.png")
        write_png(labels, tmp_path / "labels" / f"{name}.png")
    (tmp_path / "classes.toml").write_text(CLASSES)
    (tmp_path / "probed_colors.py").write_text(MODULE)
    # The nearest color by a linear score: x . c - |c|^2 / 2.
    seen = COLORS[:, ::-1] - CAFFE_BGR
    weight = torch.tensor(np.ascontiguousarray(seen))[:, :, None, None]
    bias = torch.tensor(-(seen**2).sum(1) / 2)
    state = {"score.weight": weight, "score.bias": bias,
             "other.weight": torch.zeros(3, 3, 1, 1), "other.bias": torch.zeros(3)}  # fmt: skip
    torch.save(state, tmp_path / "weights.pth")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("ARTOOLKIT_TRUSTED_NETWORKS", "")
    sys.modules.pop("probed_colors", None)
    return tmp_path


def probed(place: Path, *more: str) -> int:
    data = ("--dataset", "folder", "--data-root", str(place))
    return run(("weights", "probe", "weights.pth", "--network", "probed_colors:Colors", *data,
                "--out", "found.safetensors", *more))  # fmt: skip


@pytest.mark.parametrize("two", [False, True])
def test_bgr_and_caffes_mean_are_found_out(
    place: Path, two: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert probed(place, *(("--option", 'arguments={"two": true}') if two else ())) == 0
    found = read_checkpoint(place / "found.safetensors").meta
    assert found.preprocess.channel_order == "bgr"
    assert found.preprocess.mean == pytest.approx(tuple(CAFFE_BGR.tolist()), abs=1e-3)
    assert found.preprocess.std == (1, 1, 1)
    if two:
        assert found.options["main"] == 1
    lines = capsys.readouterr().out.splitlines()
    scores = [float(line.split("│")[1]) for line in lines if "bgr" in line or "rgb" in line
              if line.startswith("│")]  # fmt: skip
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 90 > scores[-1]


def test_what_is_said_is_kept(place: Path) -> None:
    assert probed(place, "--channel-order", "rgb", "--images", "1") == 0
    assert read_checkpoint(place / "found.safetensors").meta.preprocess.channel_order == "rgb"


def test_a_built_in_network_is_not_probed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ("--dataset", "folder", "--data-root", str(place))
    code = run(("weights", "probe", "weights.pth", "--network", "icnet", *data, "--out", "x"))
    assert code == 2
    assert "weights import" in capsys.readouterr().err
