"""The whole journey, judged by what it leaves behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from small_journey import Journey

from artoolkit.cli import run
from artoolkit.data import open_dataset
from artoolkit.evidence.bundle import open_bundle
from artoolkit.evidence.records import read_record
from artoolkit.evidence.verdict import Verdict
from artoolkit.optional import is_installed

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("journey")]


def pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        return np.asarray(picture)


@pytest.fixture
def copy(journey: Journey, tmp_path: Path) -> Path:
    """A bundle that a test may spoil."""
    return Path(shutil.copytree(journey.bundle, tmp_path / "bundle"))


def test_the_verdict_is_one_of_three_and_its_exit_code_fits(journey: Journey) -> None:
    verdict = read_record(next((journey.bundle / "evidence").glob("*/verdict.json")), Verdict)
    assert verdict.exit_code == journey.exit_code
    answers = {check.name: check.result for check in verdict.checks}
    assert list(answers) == [
        "graph", "training-only parts", "program", "program (TensorRT-RTX)", "memory", "latency",
        "outputs", "accuracy",
    ]  # fmt: skip
    rtx = "PASS" if is_installed("tensorrt_rtx") else "UNAVAILABLE"
    assert answers["program (TensorRT-RTX)"] == rtx
    for name in ("graph", "training-only parts", "program", "memory", "outputs"):
        assert answers[name] == "PASS", verdict.checks


def test_fine_tuned_control_and_baseline_have_the_same_parameters(journey: Journey) -> None:
    from safetensors import safe_open

    shapes = []
    for name in ("baseline", "ar", "control"):
        with safe_open(journey.checkpoint(name), framework="numpy") as file:
            shapes.append({key: file.get_slice(key).get_shape() for key in file.keys()})  # noqa: SIM118 -- not a dict
    assert shapes[0] == shapes[1] == shapes[2]
    assert len(shapes[0]) > 100


def test_only_the_candidate_has_the_affinity_term_and_all_arms_see_the_same_data(
    journey: Journey,
) -> None:
    first = {}
    for name in ("ar", "control"):
        lines = (journey.root / name / "metrics.jsonl").read_text().splitlines()
        rows = [json.loads(line) for line in lines]
        first[name] = next(row for row in rows if row["kind"] == "iteration")
    assert "affinity_regression" in first["ar"]
    assert "affinity_regression" not in first["control"]
    assert first["ar"]["cross_entropy"] == first["control"]["cross_entropy"]


def test_predict_writes_the_data_sets_ids_at_the_pictures_size(
    journey: Journey, tmp_path: Path
) -> None:
    assert run(("predict", str(journey.bundle), *journey.data, "--out", str(tmp_path))) == 0
    data = open_dataset("cityscapes", journey.root / "data")
    for sample in data.samples("val"):
        name = data.prediction_name(sample)
        assert name.endswith("_pred_labelIds.png")
        labels = pixels(tmp_path / "labels" / name)
        assert labels.shape == data.read_image(sample).shape[:2]
        assert set(np.unique(labels)) <= set(data.labels.file_ids)
        overlay = f"{Path(name).stem}_overlay.png"
        assert pixels(tmp_path / "overlays" / overlay).shape == (*labels.shape, 3)


def test_bundle_and_checkpoint_predict_the_same(journey: Journey, tmp_path: Path) -> None:
    picture = str(next((journey.root / "data" / "leftImg8bit" / "val").rglob("*.png")))
    bundle, checkpoint = tmp_path / "bundle", tmp_path / "checkpoint"
    size = ("--imgsz", "64", "128")
    assert run(("predict", str(journey.bundle), picture, "--out", str(bundle))) == 0
    ours = ("predict", journey.checkpoint("ar"), picture, "--out", str(checkpoint), *size)
    assert run(ours) == 0
    a, b = (
        np.asarray(Image.open(next((p / "labels").glob("*.png")))) for p in (bundle, checkpoint)
    )
    assert (a == b).mean() >= 0.9999


def test_verify_passes_here(journey: Journey) -> None:
    assert run(("verify", str(journey.bundle))) == 0


def test_verify_finds_one_changed_byte_of_any_file(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = sorted(p for p in copy.rglob("*") if p.is_file())
    assert {"manifest.json", "model.onnx", "golden.npz", "verdict.json"} <= {p.name for p in files}
    for path in files:
        content = path.read_bytes()
        path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
        assert run(("verify", str(copy), "--json")) == 1, path
        assert str(path) in capsys.readouterr().out
        path.write_bytes(content)
    assert run(("verify", str(copy))) == 0


def test_verify_passes_without_torch(journey: Journey, robot_python: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    without = (
        "import importlib.util as u; assert not u.find_spec('torch') and not u.find_spec('onnx')"
    )
    subprocess.run([str(robot_python), "-c", without], check=True, env=environment, cwd="/")
    command = [str(robot_python), "-m", "artoolkit", "verify", str(journey.bundle)]
    answer = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd="/", check=False
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_compare_on_the_robot_says_what_it_cannot_check(
    journey: Journey, robot_python: Path, tmp_path: Path
) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    answer = subprocess.run(
        [str(robot_python), "-m", "artoolkit", "compare", str(journey.bundle), "--json",
         "--budget-s", "1", "--blocks", "2", "--out", str(tmp_path)],
        capture_output=True, text=True, env=environment, cwd="/", check=False,
    )  # fmt: skip
    assert answer.returncode in (1, 3), answer.stderr
    checks = {c["name"]: c for c in json.loads(answer.stdout)["checks"]}
    assert checks["graph"]["result"] == "UNAVAILABLE"
    assert "artoolkit[train]" in checks["graph"]["details"][0]
    assert checks["outputs"]["result"] == "PASS"


def test_evaluate_agrees_between_checkpoint_and_bundle(journey: Journey, tmp_path: Path) -> None:
    for name, model in (("a", journey.checkpoint("ar")), ("b", str(journey.bundle))):
        out = str(tmp_path / f"{name}.json")
        assert run(("evaluate", model, *journey.data, "--out", out)) == 0
    a, b = (json.loads((tmp_path / f"{n}.json").read_text())["metrics"]["mIoU"] for n in "ab")
    assert abs(a - b) < 0.05


def test_the_bundle_names_its_baseline(journey: Journey) -> None:
    bundle = open_bundle(journey.bundle)
    assert bundle.baseline is not None
    assert bundle.baseline.manifest.trained == bundle.manifest.trained
    assert bundle.baseline.manifest.files["model.onnx"] != bundle.manifest.files["model.onnx"]
