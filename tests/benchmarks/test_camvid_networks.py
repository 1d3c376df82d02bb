"""The benchmark that trains several networks by one recipe: commands, curves and table."""

from __future__ import annotations

from pathlib import Path

import camvid_networks
import numpy as np
import pytest
import result_file
from click.testing import CliRunner
from PIL import Image
from result_file import ResultFile

from artoolkit.evidence.records import read_record
from artoolkit.training.recipe import load_recipe

pytest.importorskip("torch")
SMALL = ("augmentation.crop=[32, 48]", "network.options.width=0.125", "schedule.batch_size=2",
         "execution.precision=fp32")  # fmt: skip


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    """Three pictures in CamVid's layout."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 2), ("val", 1)):
        for kind in ("images", "labels"):
            (tmp_path / "camvid" / kind / split).mkdir(parents=True)
        for index in range(count):
            image = Image.fromarray(rng.integers(0, 256, (32, 48, 3)).astype(np.uint8))
            image.save(tmp_path / "camvid" / "images" / split / f"0001TP_{index}.jpg")
            label = Image.fromarray(rng.integers(0, 12, (32, 48)).astype(np.uint8))
            label.save(tmp_path / "camvid" / "labels" / split / f"0001TP_{index}.png")
    return tmp_path / "camvid"


def test_networks_get_the_same_command_but_for_what_is_said(tmp_path: Path) -> None:
    icnet, other = (
        camvid_networks.step(name, tmp_path / name, "data", epochs=10, changes=SMALL)
        for name in ("icnet", "refinenet_lw50")
    )
    own = [p for c in camvid_networks.OWN["refinenet_lw"] for p in ("--set", c)]
    at = other.arguments.index(own[1]) - 1
    assert list(other.arguments[at : at + len(own)]) == own
    rest = [*other.arguments[:at], *other.arguments[at + len(own) :]]
    assert [part.replace("refinenet_lw50", "icnet") for part in rest] == list(icnet.arguments)
    assert icnet.run == tmp_path / "icnet"
    assert all(load_recipe("camvid", assignments=[change]) for change in own[1::2])


def test_one_result_file_holds_the_curves_of_every_finished_run(
    camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_file, "RESULTS", tmp_path / "results")
    runs = tmp_path / "runs"
    command = ["--data-root", str(camvid), "--runs", str(runs), "--network", "icnet",
               "--epochs", "2"]  # fmt: skip
    for change in SMALL:
        command += ["--set", change]
    shown = CliRunner().invoke(camvid_networks.main, command)
    assert shown.exit_code == 0, shown.output
    (written,) = (tmp_path / "results").iterdir()
    result = read_record(written, ResultFile)
    assert written.name == "camvid-networks--x86-2core--cpu.json"
    assert "epochs = 2" in result.raw["icnet"]["recipe"]
    rows = result.raw["icnet"]["rows"]
    assert [row["kind"] for row in rows] == ["iteration", "epoch"] * 2
    assert f"| `icnet` | 2 | {rows[0]['loss']:.3f} to {rows[2]['loss']:.3f} |" in shown.output
    again = CliRunner().invoke(camvid_networks.main, command)
    assert "Train icnet: done before" in again.output


def test_the_table_says_where_a_curve_began_and_ended() -> None:
    losses = [(1, 3.0), (1, 1.0), (2, 0.5), (3, 0.25)]
    rows = [{"kind": "iteration", "epoch": epoch, "loss": loss} for epoch, loss in losses]
    rows += [
        {"kind": "epoch", "epoch": epoch, "mIoU": found}
        for epoch, found in ((1, 10.0), (2, 40.0), (3, 30.0))
    ]
    *_, line = camvid_networks.table({"net": {"rows": rows}})
    assert line == "| `net` | 3 | 2.000 to 0.250 | 10.00 to 30.00 | 40.00 |"
