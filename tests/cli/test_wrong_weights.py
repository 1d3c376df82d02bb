"""Weights and data of others that cannot be used: one line, the documented exit code, no file."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from public_reference import NARROW, imagenet_trunk, narrow_published

from artoolkit.cli import run
from artoolkit.networks import build, sources

USAGE, DATA, CHECKPOINT, DOWNLOAD = 2, 4, 5, 14
OPTION = ("--option", "width=0.0625")


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Light-Weight RefineNet of 40 classes, narrow, as its authors publish it."""
    path = tmp_path_factory.mktemp("published") / "rf_lwmbv2.pth"
    state = narrow_published("drsleep_rf_lwmbv2", "refinenet_lw_mbv2", "drsleep")
    torch.save({"segmenter": state}, path)
    return path


def refused(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, *words: str
) -> None:
    capsys.readouterr()
    assert run(arguments) == code
    # A progress bar that was taken away leaves an empty line.
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert [line.partition(":")[0] for line in lines] == ["error"]
    for word in words:
        assert word in lines[0]


def importing(file: Path, network: str, classes: int, out: Path, *more: str) -> tuple[str, ...]:
    return ("weights", "import", str(file), "--network", network, "--num-classes", str(classes),
            "--out", str(out), *more)  # fmt: skip


def test_what_is_wrong_with_a_file_is_named(
    mobilenet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, net = tmp_path / "model.safetensors", "refinenet_lw_mbv2"
    right = importing(mobilenet, net, 40, out, *OPTION)
    refused(capsys, (*right, "--layout", "mmseg"), CHECKPOINT,
            "another layout than stated; got drsleep; expected mmseg")  # fmt: skip
    refused(capsys, importing(mobilenet, net, 19, out, *OPTION, "--labels", "cityscapes"),
            CHECKPOINT, "segm.bias (40,) instead of (19,)")  # fmt: skip
    refused(capsys, importing(mobilenet, "icnet", 40, out), CHECKPOINT, "belong to another network")
    refused(capsys, importing(mobilenet, net, 40, out), CHECKPOINT, "of another shape: layer1")
    cut = tmp_path / "cut.pth"
    cut.write_bytes(mobilenet.read_bytes()[:5000])
    refused(capsys, importing(cut, net, 40, out), CHECKPOINT, "Is the download complete?")
    trunk = tmp_path / "resnet50.pth"
    torch.save(imagenet_trunk(build("refinenet_lw50", num_classes=3, **NARROW)), trunk)
    refused(capsys, importing(trunk, "icnet_r50", 19, out, *OPTION, "--labels", "cityscapes"),
            CHECKPOINT, "not of the trunk of icnet_r50", "missing")  # fmt: skip
    known = tmp_path / "icnet_r18-d8_832x832_80k_cityscapes_20210925_225521-2e36638d.pth"
    known.write_bytes(b"something else")
    refused(capsys, importing(known, "icnet_r18", 19, out), DOWNLOAD, "expected 2e36638d")
    assert not out.exists()
    assert run(right) == 0


def test_what_is_no_nyuv2_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import h5py

    text, other = tmp_path / "text.mat", tmp_path / "other.mat"
    text.write_bytes(b"MATLAB 5.0 MAT-file, as scipy writes it")
    with h5py.File(other, "w") as file:
        file["depths"] = [0.0]
    for path in (text, other):
        prepare = ("data", "prepare-nyuv2", str(path), str(tmp_path / "out"))
        refused(capsys, prepare, DATA, str(path))
    assert not (tmp_path / "out").exists()


class BreaksOff(socketserver.StreamRequestHandler):
    """Promises 1000 bytes, sends 10 and hangs up."""

    def handle(self) -> None:
        while self.rfile.readline().strip():
            pass
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n0123456789")


@pytest.fixture
def broken_source(monkeypatch: pytest.MonkeyPatch) -> Iterator[sources.Source]:
    with socketserver.TCPServer(("127.0.0.1", 0), BreaksOff) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        source = sources.source_named("icnet_r18-80k-cityscapes").model_copy(
            update={
                "address": f"http://127.0.0.1:{server.server_address[1]}/w.pth",
                "file": "w.pth",
            }
        )
        monkeypatch.setattr(sources, "sources", lambda: (source,))
        yield source
        server.shutdown()
        thread.join()


def test_a_download_that_breaks_off_is_no_file(
    broken_source: sources.Source, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch = ("weights", "fetch", broken_source.name, "--out", str(tmp_path))
    refused(capsys, fetch, DOWNLOAD, "broke off")
    assert not (tmp_path / "w.pth").exists()
