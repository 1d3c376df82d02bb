"""Published files to a verdict: mmsegmentation's ICNet-R50, and the Caffe ICNet at its own size."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from public_reference import narrow_published

from artoolkit.cli import run
from artoolkit.evidence.bundle import open_bundle
from artoolkit.evidence.records import read_record
from artoolkit.evidence.verdict import Verdict
from artoolkit.networks import importing
from artoolkit.networks.checkpoint import read_checkpoint

pytestmark = pytest.mark.slow

SIZE = ("64", "128")
NARROW = ("--option", "width=0.0625")
SMALL = (
    "--set", "augmentation.crop=[64, 128]", "--epochs", "1", "--lr", "0.002", "--batch-size", "2",
    "--set", "execution.precision=fp32", "--workers", "0",
)  # fmt: skip
QUICK = ("--golden", "1", "--budget-s", "1", "--blocks", "2")


@pytest.fixture(scope="module")
def streets(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    root = tmp_path_factory.mktemp("streets") / "data"
    size = ("--train", "2", "--val", "2", "--imgsz", *SIZE, "--workers", "1")
    assert run(("data", "synthesize", str(root), *size)) == 0
    return ("--dataset", "cityscapes", "--data-root", str(root))


def test_mmsegmentations_icnet_r50_to_a_verdict_in_one_go(
    streets: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The commands of the README with the real file, on a narrow network of the same layout."""
    published, runs, bundle = tmp_path / "icnet_r50.pth", tmp_path / "ar", tmp_path / "bundle"
    state = narrow_published("mmseg_icnet_r50", "icnet_r50", "mmseg")
    torch.save({"meta": {"CLASSES": None}, "state_dict": state}, published)
    finetune = ("finetune", "--network", "icnet_r50", "--baseline", str(published), *NARROW,
                "--recipe", "cityscapes-icnet", *SMALL, *streets, "--out", str(runs))  # fmt: skip
    assert run(finetune) == 0
    said = capsys.readouterr().err
    assert "icnet_r50, 19 classes of cityscapes, layout mmseg, RGB mean (123.675" in said
    assert "AR weight 20" in said
    trained = read_checkpoint(runs / "model.safetensors")
    assert (trained.meta.layout, trained.meta.options) == ("mmseg", {"width": 0.0625})
    assert trained.meta.provenance["baseline"]["sha256"]
    export = ("export", str(runs / "model.safetensors"), "--baseline", str(published), *streets,
              "--imgsz", *SIZE, *QUICK, "--out", str(bundle))  # fmt: skip
    code = run(export)
    verdict = read_record(next((bundle / "evidence").glob("*/verdict.json")), Verdict)
    assert code == verdict.exit_code
    answers = {check.name: check.result for check in verdict.checks}
    for name in ("graph", "training-only parts", "memory", "outputs"):
        assert answers[name] == "PASS", verdict.checks


def test_the_caffe_icnet_keeps_its_input_size(
    streets: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its 1025 x 2049, here smaller, is what a bundle takes, also after fine-tuning."""
    monkeypatch.setattr(importing, "CAFFE_HW", (65, 129))
    published, base = tmp_path / "icnet.pth", tmp_path / "base.safetensors"
    torch.save(narrow_published("caffe_icnet", "icnet", "caffe"), published)
    made = ("weights", "import", str(published), "--network", "icnet", "--num-classes", "19",
            *NARROW, "--out", str(base))  # fmt: skip
    assert run(made) == 0
    finetune = ("finetune", "--baseline", str(base), "--recipe", "cityscapes-icnet", *SMALL,
                *streets, "--out", str(tmp_path / "ar"))  # fmt: skip
    assert run(finetune) == 0
    trained = tmp_path / "ar" / "model.safetensors"
    meta = read_checkpoint(trained).meta
    assert (meta.imgsz, meta.layout, meta.preprocess.channel_order) == ((65, 129), "caffe", "bgr")
    assert meta.recipe["evaluation"]["imgsz"] == [65, 129]
    bundle = tmp_path / "bundle"
    assert run(("export", str(trained), "--golden", "1", "--out", str(bundle))) == 0
    manifest = open_bundle(bundle).manifest
    assert (manifest.target.imgsz, manifest.preprocess.channel_order) == ((65, 129), "bgr")
    assert run(("predict", str(trained), *streets, "--out", str(tmp_path / "labels"))) == 0
    other = ("export", str(trained), "--imgsz", *SIZE, "--golden", "1", "--out", str(bundle))
    assert run((*other, "--overwrite")) == 0
    assert open_bundle(bundle).manifest.target.imgsz == (64, 128)
