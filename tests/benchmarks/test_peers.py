"""Peers are built from their package alone, exported plainly, and never a pass when missing."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import peer_networks
import peers
import pytest
import torch
from peer_networks import COMPILED, MMSEGMENTATION, SMP, FullSizeScores, Package, Peer
from result_file import RESULTS
from side_by_side import ratio
from tiny import HEIGHT, WIDTH, write_tiny
from torch import Tensor, nn

from artoolkit.backends.onnxruntime.runner import open_onnxruntime
from artoolkit.errors import MissingLibraryError

SIZE = (HEIGHT, WIDTH)
LOCAL = Package("local", needs=("numpy", "no-such-package==1"), roots=("numpy",))


class Segmentor(nn.Module):
    """What mmsegmentation builds, as far as it is used."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 19, 3, padding=1)
        self.shapes: list[dict[str, Any]] = []

    def encode_decode(self, image: Tensor, shapes: list[dict[str, Any]]) -> Tensor:
        self.shapes = shapes
        return torch.as_tensor(self.conv(image))


def test_a_plain_configuration_has_no_synchronised_norm() -> None:
    config = {"norm": {"type": "SyncBN"}, "heads": [{"norm": {"type": "SyncBN"}}], "n": (1, "GN")}
    assert peer_networks.plain_norm(config) == {
        "norm": {"type": "BN"}, "heads": [{"norm": {"type": "BN"}}], "n": [1, "GN"]
    }  # fmt: skip


def test_operators_are_there_to_be_looked_up() -> None:
    operators = peer_networks.NoOperators(COMPILED)
    assert hasattr(operators, "nms")
    assert not hasattr(operators, "__file_of_nothing__")


def test_a_missing_package_names_the_command_that_installs_it() -> None:
    missing = Package("thing", needs=("thing==1", "part"), roots=("no_such_thing",))
    expected = r"thing does not import.*pip install --target PEERS/thing --no-deps thing==1 part"
    with pytest.raises(MissingLibraryError, match=expected):
        missing.modules()


def test_a_package_that_breaks_while_it_is_imported_is_missing_too(tmp_path: Path) -> None:
    broken = Package("broken", needs=("broken",), roots=("broken_peer",))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "broken_peer.py").write_text("raise RuntimeError('no operator')")
    with (
        broken.on_path(tmp_path),
        pytest.raises(MissingLibraryError, match="RuntimeError: no operator"),
    ):
        broken.modules()


def test_a_package_is_found_in_its_folder_and_only_meanwhile(tmp_path: Path) -> None:
    before = list(sys.path)
    with LOCAL.on_path(tmp_path):
        assert sys.path == [*before, str(tmp_path / "local")]
    with LOCAL.on_path(None):
        assert sys.path == before
    assert sys.path == before


def test_versions_are_those_that_are_installed() -> None:
    assert LOCAL.versions() == {"numpy": np.__version__}


@pytest.fixture
def mmseg(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Its modules, reduced to what a builder calls; `seen` is the configuration that was built."""
    seen = SimpleNamespace(config=None, path=None)

    def fromfile(path: Path) -> SimpleNamespace:
        seen.path = path
        values = {"type": "EncoderDecoder", "norm_cfg": {"type": "SyncBN"}}
        return SimpleNamespace(model=SimpleNamespace(to_dict=lambda: values))

    def build(config: dict[str, Any]) -> Segmentor:
        seen.config = config
        return Segmentor()

    modules: dict[str, dict[str, Any]] = {
        "mmengine": {"Config": SimpleNamespace(fromfile=fromfile), "ConfigDict": dict},
        "mmseg": {"__file__": "peer/mmseg/__init__.py"},
        "mmseg.utils": {"register_all_modules": lambda: None},
        "mmseg.registry": {"MODELS": SimpleNamespace(build=build)},
        "mmseg.models": {},
    }
    assert modules.keys() == set(MMSEGMENTATION.roots)
    monkeypatch.setitem(sys.modules, COMPILED, ModuleType(COMPILED))
    for name, content in modules.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    return seen


def test_mmsegmentation_is_built_from_its_own_configuration(mmseg: SimpleNamespace) -> None:
    network = peer_networks.mmsegmentation("icnet/one.py")(SIZE)
    assert mmseg.path == Path("peer/mmseg/.mim/configs/icnet/one.py")
    assert mmseg.config == {"type": "EncoderDecoder", "norm_cfg": {"type": "BN"}}
    assert isinstance(network, FullSizeScores)
    assert network(torch.zeros(1, 3, *SIZE)).shape == (1, 19, *SIZE)
    (shapes,) = network.segmentor.shapes
    assert shapes == {"img_shape": SIZE, "ori_shape": SIZE, "pad_shape": SIZE}


def test_smp_is_asked_for_the_same_classes_and_no_download(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    smp = ModuleType(SMP.roots[0])
    asked = {}
    vars(smp)["PSPNet"] = lambda encoder, **more: asked.update(encoder=encoder, **more)
    monkeypatch.setitem(sys.modules, SMP.roots[0], smp)
    peer_networks.smp_pspnet(SIZE)
    assert asked == {"encoder": "resnet50", "encoder_weights": None, "classes": 19}


@pytest.mark.parametrize("labels", [True, False])
def test_a_peer_is_exported_and_timed_in_turn(
    labels: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = np.zeros((1, *SIZE, 3), np.uint8)
    monkeypatch.setattr(peers, "street", lambda _: image)
    peer = Peer("tiny", LOCAL, lambda size: FullSizeScores(Segmentor(), size), labels=labels)
    with open_onnxruntime(write_tiny(tmp_path / "ours.onnx"), threads=1) as own:
        row = peers.measured(peer, None, own, threads=1, budget_s=0.0)
    assert row["imgsz"] == SIZE
    theirs, ours = row["seconds"]["case"], row["seconds"]["reference"]
    assert len(theirs) == len(ours) >= 3
    assert min(*theirs, *ours) > 0
    assert row["output"] == ("labels" if labels else "scores")
    assert row["file_bytes"] > 3 * 19 * 9 * 4
    assert row["versions"] == {"numpy": np.__version__}


def test_what_leaves_a_peer_is_what_its_row_says(tmp_path: Path) -> None:
    network = FullSizeScores(Segmentor(), SIZE)
    labels = peer_networks.Argmax(network)(torch.zeros(1, 3, *SIZE))
    assert labels.dtype == torch.int64
    assert labels.shape == (1, *SIZE)


def test_an_unavailable_peer_has_a_reason_and_no_ratio() -> None:
    row = {
        "network": "ICNet-R50", "package": "mmsegmentation", "output": "labels", "imgsz": [2, 4],
        "file_bytes": 95_000_000, "seconds": {"case": [1.5, 3.0, 1.5], "reference": [0.2] * 3},
    }  # fmt: skip
    lines = peers.table({"a": row, "b": {"unavailable": "it does not import. Install it: pip"}})
    assert lines[2] == "| ICNet-R50 (mmsegmentation) | labels | 2 x 4 | 95 | 1500 | 200 | 7.5 |"
    assert lines[3:] == ["", "Not measured: b. it does not import. Install it: pip"]


@pytest.mark.parametrize("path", sorted(RESULTS.glob("peers--*.json")), ids=lambda p: p.name)
def test_icnet_is_faster_than_the_committed_peers_in_labels_and_in_scores(path: Path) -> None:
    raw = json.loads(path.read_text())["raw"]
    names = [name for name in raw if name.startswith("ICNet-R50, mmsegmentation")]
    assert len(names) == 2
    assert all(ratio(raw[name]["seconds"]) > 1 for name in names)
