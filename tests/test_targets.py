"""Targets are found by name and path, and what they declare is consistent."""

import shutil

import pytest
from pydantic import ValidationError

from artoolkit import targets
from artoolkit.checks.registry import check_names
from artoolkit.errors import RecipeError, UsageError
from artoolkit.spec import Margins, Target
from artoolkit.targets import find_target, list_targets

NAMES = {
    "cpu", "jetson-orin-nano", "jetson-orin-nx", "jetson-agx-orin", "jetson-thor", "t4", "l4",
    "a10", "a100", "h100", "rtx-30", "rtx-40", "rtx-50",
    "intel-cpu", "intel-gpu", "intel-npu",
}  # fmt: skip


def test_every_promised_device_has_a_target():
    assert set(list_targets()) == NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_target_carries_its_own_name_size_and_margins(name):
    target = find_target(name)
    assert target.name == name
    assert target.imgsz == (1024, 2048)
    assert target.margins.latency_percent == 2.0
    assert target.optional == (("program",) if target.backend == "onnxruntime" else ())
    check_names(target)


@pytest.mark.parametrize("name", sorted(NAMES - {"cpu", "intel-cpu", "intel-gpu", "intel-npu"}))
def test_a_gpu_target_says_what_an_engine_needs_to_know(name):
    target = find_target(name)
    assert len(target.compute_capabilities) == 1
    assert target.compute_capabilities[0].isdigit()
    assert target.tensorrt is not None
    assert target.memory_gib is not None
    assert target.backend != "tensorrt-rtx" or target.tensorrt_rtx is not None
    assert "tf32" in target.precisions or target.compute_capabilities == ("75",)


def test_a_target_of_the_first_version_listed_what_it_required():
    values = {"name": "old", "imgsz": (16, 24), "required": ["graph", "memory", "latency"]}
    target = Target.model_validate(values)
    assert target.optional == ("training-only parts", "program", "outputs", "accuracy")
    for wrong in ("all", ["grph"], [["graph"]], 3):
        with pytest.raises(ValidationError, match="required"):
            Target.model_validate(values | {"required": wrong})


@pytest.mark.parametrize(
    "margins",
    [
        {"label_agreement": {"fp32": -1}},
        {"label_agreement": {"fp32": 1.5}},
        {"label_agreement": {"fp7": 0.5}},
        {"scores_atol": {"fp32": -0.1}},
        {"exported_points": {"fp32": 101}},
        {"accuracy_points": 1000},
        {"latency_percent": 0},
    ],
)
def test_margins_have_ranges(margins):
    with pytest.raises(ValidationError):
        Margins.model_validate(margins)


def test_options_go_over_the_file_and_none_leaves_it():
    target = find_target("rtx-40", precision="fp32", imgsz=(512, 1024), head=None)
    assert (target.precision, target.imgsz, target.head) == ("fp32", (512, 1024), "chain")


def test_a_path_is_read_as_it_is(tmp_path):
    copy = tmp_path / "mine.toml"
    text = list_targets()["cpu"].read_text().replace('name = "cpu"', 'name = "mine"')
    copy.write_text(text)
    assert find_target(copy).name == "mine"
    assert find_target(str(copy)) == find_target(copy)


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(UsageError, match=r"unknown target; got 'orin'.*jetson-agx-orin.*rtx-50"):
        find_target("orin")


def test_a_missing_file_and_an_impossible_precision_are_named(tmp_path):
    with pytest.raises(RecipeError, match=r"no target at .*gone\.toml"):
        find_target(tmp_path / "gone.toml")
    with pytest.raises(RecipeError, match="t4 runs fp32, fp16, int8, not tf32"):
        find_target("t4", precision="tf32")


def test_an_installed_wheel_has_them_inside_the_package(tmp_path, monkeypatch):
    shutil.copytree(list_targets()["cpu"].parent, tmp_path / "_export" / "targets")
    (tmp_path / "_export" / "targets" / "t4.toml").unlink()
    monkeypatch.setattr(targets, "_PACKAGE", tmp_path)
    assert set(list_targets()) == NAMES - {"t4"}


@pytest.mark.parametrize("imgsz", [(0, 8), (-1, 8), (128_000, 64), (8,), (8, 8, 8)])
def test_an_image_size_that_cannot_be_is_refused_with_the_number(imgsz: tuple[int, ...]) -> None:
    with pytest.raises(RecipeError, match=str(imgsz[0] if len(imgsz) == 2 else len(imgsz))):
        find_target("cpu", imgsz=imgsz)
