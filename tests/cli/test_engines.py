"""evaluate, verify and predict on engines: on a faked GPU, and what they say without one."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from engine_bundles import RedScenes, tiny_bundle, tiny_target
from fake_gpu import FakeCuda, FakeTensorrt
from sidecars import write_plan

from artoolkit import data
from artoolkit.cli import main
from artoolkit.evaluation.quality import QualityMeasurement
from artoolkit.evidence.bundle import Bundle
from artoolkit.evidence.records import read_record

MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
BACKENDS = tuple(MODULES)


def for_device(folder: Path, backend: str) -> Bundle:
    target = tiny_target("jetson-orin-nx" if backend == "tensorrt" else "rtx-40")
    return tiny_bundle(folder, target)


def install(monkeypatch: pytest.MonkeyPatch, backend: str, *, driver: bool = True) -> None:
    """A faked Orin with the library."""
    cuda = FakeCuda(driver=driver)
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", cuda)
    monkeypatch.setitem(sys.modules, MODULES[backend], FakeTensorrt(cuda))


def built(bundle: Bundle, backend: str) -> Bundle:
    write_plan(bundle, library=backend)
    return bundle


def on_scenes(monkeypatch: pytest.MonkeyPatch, model: Bundle | Path, *more: str) -> Result:
    path = model.path if isinstance(model, Bundle) else model
    monkeypatch.setattr(data, "open_dataset", lambda *_, **__: RedScenes())
    return CliRunner().invoke(main, ["evaluate", str(path), "--dataset", "camvid", *more])


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_miou_of_an_engine_for_baseline_and_candidate(tmp_path, monkeypatch, backend):
    install(monkeypatch, backend)
    for folder in ("baseline", "candidate"):
        (tmp_path / folder).mkdir()
        bundle = built(for_device(tmp_path / folder, backend), backend)
        out = tmp_path / f"{folder}.json"
        result = on_scenes(monkeypatch, bundle, "--backend", backend, "--json", "--out", str(out))
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["mIoU"] == 100.0
        predictor = read_record(out, QualityMeasurement).predictor
        assert (predictor["backend"], predictor["device"]) == (backend, "cuda:0")
        (engine,) = bundle.engines.glob("*.plan")
        by_itself = on_scenes(monkeypatch, engine, "--out", str(out))
        assert by_itself.exit_code == 0, by_itself.output
        measured = read_record(out, QualityMeasurement)
        assert (measured.predictor["backend"], measured.metrics["mIoU"]) == (backend, 100.0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_without_the_library_the_driver_or_an_engine_one_line_says_what_to_do(
    tmp_path, monkeypatch, backend
):
    bundle = for_device(tmp_path, backend)
    monkeypatch.setitem(sys.modules, MODULES[backend], None)
    no_library = on_scenes(monkeypatch, bundle)
    install(monkeypatch, backend)
    no_engine = on_scenes(monkeypatch, bundle)
    built(bundle, backend)
    install(monkeypatch, backend, driver=False)
    no_driver = on_scenes(monkeypatch, bundle)
    expected = (
        (no_library, 8, "pip install"),
        (no_engine, 13, f"artoolkit build {bundle.path} --library {backend}"),
        (no_driver, 12, "no NVIDIA driver"),
    )
    for result, code, words in expected:
        assert result.exit_code == code, result.output
        assert result.stderr.startswith("error: ") and words in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1


def test_verify_replays_the_golden_images_on_the_engine(tmp_path, monkeypatch):
    install(monkeypatch, "tensorrt")
    bundle = built(for_device(tmp_path, "tensorrt"), "tensorrt")
    result = CliRunner().invoke(main, ["verify", str(bundle.path), "--json"])
    assert result.exit_code == 0, result.output
    checks = {check["name"]: check["result"] for check in json.loads(result.stdout)}
    assert checks["golden replay"] == "PASS"


def test_predict_runs_on_the_targets_engine(tmp_path, monkeypatch):
    from PIL import Image

    install(monkeypatch, "tensorrt")
    bundle = built(for_device(tmp_path, "tensorrt"), "tensorrt")
    Image.new("RGB", (64, 32), (2, 0, 0)).save(tmp_path / "street.png")
    arguments = ["predict", str(bundle.path), str(tmp_path / "street.png")]
    result = CliRunner().invoke(main, [*arguments, "--out", str(tmp_path / "out"), "--no-overlays"])
    assert result.exit_code == 0, result.output
    (label,) = (tmp_path / "out").rglob("*.png")
    assert Image.open(label).getextrema() == (2, 2)
