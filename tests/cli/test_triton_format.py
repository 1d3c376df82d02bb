"""`artoolkit export --format triton`: from a bundle with or without an engine, and from weights."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from deploy.tiny_network import Tiny
from engine_bundles import tiny_bundle, tiny_target
from sidecars import write_plan

from artoolkit.cli import main
from artoolkit.evidence.bundle import Bundle
from artoolkit.networks import builder


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return tiny_bundle(tmp_path, tiny_target("jetson-orin-nx"))


def export(source: Path | str, out: Path, *more: str) -> Result:
    arguments = ["export", str(source), "--format", "triton", "--out", str(out), *more]
    return CliRunner().invoke(main, arguments)


def test_a_bundle_is_served_with_its_engine_and_without_torch(bundle, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    plan = write_plan(bundle)
    models = tmp_path / "models"
    result = export(bundle.path, models)
    assert result.exit_code == 0, result.output
    assert (models / "tiny" / "1" / "model.plan").read_bytes() == plan.read_bytes()
    assert 'platform: "tensorrt_plan"' in (models / "tiny" / "config.pbtxt").read_text()
    folder, isaac = result.stdout.splitlines()
    assert folder == f"{models / 'tiny'}  engine engine.plan"
    assert "its nodes need a bundle exported with --input-layout nchw_float32" in isaac


def test_without_an_engine_its_onnx_file_is_served(bundle, tmp_path):
    result = export(bundle.path, tmp_path / "models")
    assert "tiny  ONNX file" in result.stdout
    assert (tmp_path / "models" / "tiny" / "1" / "model.onnx").is_file()
    again = export(bundle.path, tmp_path / "models")
    assert again.exit_code == 2 and "already there. Add --overwrite" in again.stderr
    assert export(bundle.path, tmp_path / "models", "--overwrite").exit_code == 0


def test_among_several_engines_one_has_to_be_named(bundle, tmp_path):
    write_plan(bundle, name="a")
    chosen = write_plan(bundle, name="b")
    refused = export(bundle.path, tmp_path / "models")
    assert refused.exit_code == 2 and "got a.plan, b.plan" in refused.stderr
    result = export(bundle.path, tmp_path / "models", "--engine", str(chosen))
    assert "engine b.plan" in result.stdout


def test_a_bundle_of_isaac_ros_is_launched_with_it(tmp_path):
    form = {"layout": "nchw_float32", "labels_dtype": "int32"}
    isaac = tiny_bundle(tmp_path, tiny_target("jetson-orin-nx", **form))
    result = export(isaac.path, tmp_path / "models", "--instances", "2", "--warmup", "0")
    launch = result.stdout.splitlines()[1]
    assert launch.startswith("Isaac ROS: ros2 launch artoolkit_segmenter isaac.launch.py bundle:=")
    config = (tmp_path / "models" / "tiny" / "config.pbtxt").read_text()
    assert "count: 2" in config and "warmup" not in config


def test_a_bundle_of_rtx_says_that_triton_cannot_serve_its_engine(bundle, tmp_path):
    write_plan(bundle, library="tensorrt-rtx", library_version="1.7")
    result = export(bundle.path, tmp_path / "models")
    assert "engine.plan is an engine of TensorRT-RTX, which Triton cannot serve" in result.stderr
    assert "tiny  ONNX file" in result.stdout


def test_deepstream_gets_a_folder_of_its_own(tmp_path):
    form = {"layout": "nchw_float32", "labels_dtype": "int32"}
    made = tiny_bundle(tmp_path, tiny_target("jetson-orin-nx", **form))
    out = tmp_path / "deepstream"
    words = ["export", str(made.path), "--format", "deepstream", "--out", str(out)]
    refused = CliRunner().invoke(main, words)
    assert refused.exit_code == 13 and "has no engine of TensorRT" in refused.stderr
    plan = write_plan(made)
    assert CliRunner().invoke(main, words).exit_code == 0
    assert sorted(p.name for p in out.iterdir()) == [
        "README.md", plan.name, "nvinfer.txt", "parse_labels.cpp"
    ]  # fmt: skip
    assert CliRunner().invoke(main, words).exit_code == 2
    assert CliRunner().invoke(main, [*words, "--overwrite"]).exit_code == 0


@pytest.mark.parametrize("form", ["triton", "deepstream"])
def test_what_is_no_such_export_is_not_overwritten(bundle, tmp_path, form):
    for place in (tmp_path / "out" / "tiny", tmp_path / "out"):
        place.mkdir(parents=True, exist_ok=True)
        (place / "mine.txt").write_text("mine")
    words = ["export", str(bundle.path), "--format", form, "--out", str(tmp_path / "out")]
    refused = CliRunner().invoke(main, [*words, "--overwrite"])
    assert refused.exit_code == 2 and f"is not an export for {form}" in refused.stderr
    assert (tmp_path / "out" / "tiny" / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--format", "triton", "--baseline", "x"), "--format triton judges nothing"),
        (("--engine", "model.plan"), "--engine goes with --format triton"),
    ],
)
def test_options_that_do_not_fit_are_wrong_usage(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    Path("model.plan").touch()
    result = CliRunner().invoke(main, ["export", "bundle", "--out", "out", *arguments])
    assert result.exit_code == 2 and message in result.stderr


def test_weights_are_exported_on_the_way(tmp_path, monkeypatch):
    entry = builder.Entry(lambda num_classes, layout=None: Tiny(num_classes), {}, "for tests")
    monkeypatch.setitem(builder.NETWORKS, "tiny", entry)
    arguments = ["--untrained", "tiny", "--num-classes", "5", "--imgsz", "40", "56"]
    out = tmp_path / "models"
    result = CliRunner().invoke(
        main, ["export", *arguments, "--format", "triton", "--out", str(out)],
        catch_exceptions=False,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert (out / "tiny" / "1" / "model.onnx").is_file()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["models"]
