"""`artoolkit weights`: what it prints, where it writes, how it fails."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch

from artoolkit.cli import run
from artoolkit.networks import build, sources
from artoolkit.networks.checkpoint import read_checkpoint

CLASSES = """
[[classes]]
name = "road"
[[classes]]
name = "sky"
[splits.train]
images = "images"
"""


def test_list_names_hashes_and_dead_sources(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["weights", "list"]) == 0
    shown = capsys.readouterr().out
    assert "icnet_r50-in1k-160k-cityscapes" in shown
    assert "ce310aea" in shown
    assert "dead: CloudStor was shut down" in shown
    assert run(["weights", "list", "--network", "pspnet50", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {"pspnet50-512x1024-40k-cityscapes", "resnet50_v1c-imagenet"} <= {
        entry["name"] for entry in listed
    }
    assert all("pspnet50" in entry["network"] for entry in listed)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *ignored: object) -> None:
        """Quiet."""


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sources.Source]:
    """A source of weights on a server of this machine."""
    served = tmp_path / "served"
    served.mkdir()
    (served / "weights.pth").write_bytes(b"weights")
    handler = partial(Quiet, directory=str(served))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        source = sources.source_named("icnet_r18-80k-cityscapes").model_copy(
            update={
                "name": "local",
                "address": f"http://127.0.0.1:{server.server_port}/weights.pth",
                "file": "weights.pth",
                "hash": hashlib.sha256(b"weights").hexdigest()[:8],
            }
        )
        monkeypatch.setattr(sources, "sources", lambda: (source,))
        yield source
        server.shutdown()
        thread.join()


def test_fetch_downloads_verifies_and_says_what_is_next(
    published: sources.Source, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "here"
    assert run(["weights", "fetch", "local", "--out", str(out)]) == 0
    assert (out / "weights.pth").read_bytes() == b"weights"
    printed = capsys.readouterr().out
    assert f"sha256 {published.hash}" in printed
    assert "--layout mmseg --network icnet_r18 --num-classes 19" in printed
    (out / "weights.pth").write_bytes(b"changed")
    assert run(["weights", "fetch", "local", "--out", str(out)]) == 14
    error = capsys.readouterr().err
    assert "not the file that was published as local" in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("refinenet_lw50-nyuv2", 14, "is gone from https://cloudstor"),
        ("icnet-train-30k-cityscapes", 14, "by hand. Open https://drive.google.com"),
        ("icnet-streets", 2, "comes with artoolkit. Its name is a file"),
        ("nothing", 2, "unknown weights; got 'nothing'"),
    ],
)
def test_fetch_says_why_it_cannot(
    name: str, code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["weights", "fetch", name]) == code
    assert message in capsys.readouterr().err


def test_import_writes_a_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = build("icnet", num_classes=2, width=0.0625)
    classes = tmp_path / "classes.toml"
    classes.write_text(CLASSES)
    file, out = tmp_path / "own.pth", tmp_path / "model.safetensors"
    torch.save({f"module.{k}": v for k, v in network.state_dict().items()}, file)
    arguments = ["--num-classes", "2", "--labels", str(classes), "--out", str(out)]
    command = ["weights", "import", str(file), "--network", "icnet", *arguments]
    assert run(command) == 5
    assert "no layout that artoolkit knows" in capsys.readouterr().err
    assert not out.exists()


def test_import_of_an_own_network_with_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine_for_import.py").write_text(
        "from torch import nn\ndef net(num_classes, kernel):\n"
        "    return nn.Conv2d(3, num_classes, kernel, padding=kernel // 2)\n"
    )
    (tmp_path / "classes.toml").write_text(CLASSES)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("ARTOOLKIT_TRUSTED_NETWORKS", "")
    weights = torch.nn.Conv2d(3, 2, 3, padding=1).state_dict()
    torch.save(weights, tmp_path / "own.pth")
    out = tmp_path / "model.safetensors"
    command = [
        "weights", "import", str(tmp_path / "own.pth"), "--network", "mine_for_import:net",
        "--num-classes", "2", "--labels", str(tmp_path / "classes.toml"), "--out", str(out),
        "--option", 'arguments={"kernel": 3}', "--option", "channel_order=bgr",
    ]  # fmt: skip
    assert run(command) == 0
    assert "2 classes of folder, layout own, BGR" in capsys.readouterr().out
    checkpoint = read_checkpoint(out)
    assert checkpoint.meta.options == {"arguments": {"kernel": 3}, "channel_order": "bgr"}
    assert torch.equal(checkpoint.network().module.weight, weights["weight"])
    assert run([*command, "--option", "kernel"]) == 2
    assert "not NAME=VALUE" in capsys.readouterr().err
