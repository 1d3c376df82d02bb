"""A plan that is not this machine's, not this bundle's or not whole is refused in one line."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
from engine_bundles import tiny_bundle, tiny_target
from sidecars import write_plan

from artoolkit.backends.tensorrt.library import machine
from artoolkit.backends.tensorrt.sidecar import (
    Machine,
    check_plan,
    read_sidecar,
)
from artoolkit.errors import EngineError
from artoolkit.evidence.bundle import Bundle
from artoolkit.evidence.engines import engine_problems, sidecar_path

HERE = Machine("tensorrt", "10.3.0", machine(), "87", "Orin, 8 SMs, 1 GiB")


@pytest.fixture
def bundle(tmp_path) -> Bundle:
    return tiny_bundle(tmp_path, tiny_target("jetson-orin-nx"))


def refusal(bundle: Bundle, plan, here: Machine = HERE) -> str:
    with pytest.raises(EngineError) as caught:
        check_plan(plan, here, manifest=bundle.manifest.sha256, bundle=bundle.path)
    line = str(caught.value)
    assert "\n" not in line and "artoolkit build" in line
    return line


def test_a_plan_that_fits_is_accepted(bundle):
    plan = write_plan(bundle)
    sidecar = check_plan(plan, HERE, manifest=bundle.manifest.sha256)
    assert sidecar == read_sidecar(plan)
    assert engine_problems(bundle) == []


@pytest.mark.parametrize(
    ("there", "message"),
    [
        ({"library_version": "10.13.0"}, "built by tensorrt 10.13.0; this machine has 10.3.0"),
        ({"library": "tensorrt-rtx"}, "built by tensorrt-rtx, not tensorrt"),
        ({"gpu": "NVIDIA Thor", "compute_capabilities": ("110",)}, "for NVIDIA Thor; this machine"),
        (
            {"gpu": "NVIDIA Jetson AGX Orin Developer Kit, 16 SMs, 61 GiB"},
            "AGX Orin Developer Kit, 16 SMs, 61 GiB; this machine has Orin, 8 SMs, 1 GiB",
        ),
        ({"machine": "riscv64-linux"}, "built on riscv64-linux"),
        ({"manifest": "f" * 64}, "built from another bundle"),
        ({"plan_bytes": 601}, "was cut or replaced: it has 600 bytes, its sidecar says 601"),
        ({"plan_sha256": "0" * 64}, "was changed"),
    ],
)
def test_a_foreign_or_broken_plan_is_refused(bundle, there, message):
    assert message in refusal(bundle, write_plan(bundle, **there))


def test_the_hint_is_the_command_that_rebuilds(bundle):
    line = refusal(bundle, write_plan(bundle, library_version="10.4.0"))
    assert line.endswith(f"Rebuild it here: artoolkit build {bundle.path} --library tensorrt")


def test_a_plan_without_sidecar_or_with_a_changed_one_is_refused(bundle):
    plan = write_plan(bundle)
    path = sidecar_path(plan)
    path.write_text(path.read_text().replace("Orin", "Thor"))
    assert "was changed after it was written" in refusal(bundle, plan)
    path.unlink()
    assert "has no sidecar engine.json" in refusal(bundle, plan)
    assert "nobody knows" in engine_problems(bundle)[0]


def test_a_sidecar_of_unknown_fields_is_not_valid(bundle):
    assert "is not valid: colour" in refusal(bundle, write_plan(bundle, colour="red"))


@pytest.mark.parametrize(
    ("options", "there", "here", "fits"),
    [
        ({"version_compatible": True}, {}, {"library_version": "10.13.0"}, True),
        ({"version_compatible": True}, {}, {"library_version": "10.2.0"}, False),
        ({"version_compatible": True}, {}, {"library_version": "11.0.0"}, False),
        ({"hardware_compatibility": "ampere+"}, {}, {"compute_capability": "89", "gpu": "L4"}, 1),
        ({"hardware_compatibility": "ampere+"}, {}, {"compute_capability": "75", "gpu": "T4"}, 0),
        ({"hardware_compatibility": "same-compute-capability"}, {}, {"gpu": "Orin Nano"}, True),
        (
            {"hardware_compatibility": "same-compute-capability"}, {},
            {"gpu": "L4", "compute_capability": "89"}, False,
        ),
    ],
)  # fmt: skip
def test_compatible_plans_go_as_far_as_they_were_built_to(bundle, options, there, here, fits):
    plan = write_plan(bundle, options=options, **there)
    machine_here = replace(HERE, **here)
    if fits:
        check_plan(plan, machine_here, manifest=bundle.manifest.sha256)
    else:
        assert "was built" in refusal(bundle, plan, machine_here)


@pytest.mark.parametrize(
    ("built_for", "here", "fits"),
    [(("86", "89"), "89", True), (("86", "89"), "120", False), (("portable",), "90", True)],
)
def test_rtx_plans_run_on_what_they_list_and_portable_ones_are_left_to_rtx(
    bundle, built_for, here, fits
):
    rtx = Machine("tensorrt-rtx", "1.7", "aarch64-linux", here, "Some GPU")
    plan = write_plan(
        bundle, library="tensorrt-rtx", library_version="1.7", gpu=None,
        compute_capabilities=built_for, machine="x86_64-windows",
    )  # fmt: skip
    if fits:
        check_plan(plan, rtx, manifest=bundle.manifest.sha256)
    else:
        assert "built for SM86, SM89; this machine has Some GPU (SM120)" in refusal(
            bundle, plan, rtx
        )


def test_problems_of_all_engines_are_listed_but_other_machines_are_none(bundle):
    write_plan(bundle, name="a", gpu="Thor")
    cut = write_plan(bundle, name="b")
    cut.write_bytes(cut.read_bytes()[:100])
    write_plan(bundle, name="c", manifest="0" * 64)
    (bundle.engines / "d.json").write_text("{}")
    found = engine_problems(bundle)
    assert len(found) == 3
    assert "b.plan was cut or replaced: it has 100 bytes" in found[0]
    assert "c.plan was built from another bundle" in found[1]
    assert "d.json belongs to no engine" in found[2]


def test_an_engine_folder_that_moved_to_another_bundle_is_found(bundle, tmp_path):
    write_plan(bundle)
    other = tiny_bundle(tmp_path, tiny_target("jetson-orin-nx"), seed=1)
    shutil.copytree(bundle.engines, other.engines)
    assert "another bundle" in refusal(other, other.engines / "engine.plan")
