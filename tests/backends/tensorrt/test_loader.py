"""Building engines: options, the process, the sidecar, the command line, and every refusal."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest
from click.testing import CliRunner
from engine_bundles import tiny_bundle, tiny_target
from tiny_networks import write_tiny

from artoolkit.backends.tensorrt import build, loader
from artoolkit.backends.tensorrt.build import build_in_process, build_plan, memory_in_log
from artoolkit.backends.tensorrt.cuda import Gpu
from artoolkit.backends.tensorrt.library import Library, check_range, in_range
from artoolkit.backends.tensorrt.loader import build_engine, engine_from_onnx, options_for
from artoolkit.backends.tensorrt.operations import program_operations
from artoolkit.backends.tensorrt.options import BuildOptions, build_options, trtexec_command
from artoolkit.backends.tensorrt.sidecar import read_sidecar
from artoolkit.cli import main
from artoolkit.errors import EngineError, MissingLibraryError, StorageError, UsageError
from artoolkit.evidence.engines import engine_problems
from artoolkit.evidence.seal import file_sha256
from artoolkit.optional import is_installed

rtx = pytest.mark.skipif(not is_installed("tensorrt_rtx"), reason="tensorrt-rtx is not installed")
RTX = BuildOptions(library="tensorrt-rtx", compute_capabilities=("86",))


@pytest.fixture
def model(tmp_path) -> Path:
    return write_tiny(tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("version", "wanted", "inside"),
    [
        ("10.3.0", ">=10.3,<12", True),
        ("10.13.0.35", ">=10.3,<11", True),
        ("10.2.1", ">=10.3,<12", False),
        ("12.0", ">=10.3,<12", False),
        ("11.4.1.post1", ">= 11.4.1, < 12", True),
    ],
)
def test_version_ranges(version, wanted, inside):
    assert in_range(version, wanted) == inside


def test_a_range_of_another_form_is_misuse():
    with pytest.raises(ValueError, match="not of the form"):
        in_range("10.3", "~=10.3")


@pytest.mark.parametrize(
    ("target", "library", "version", "message"),
    [
        ("jetson-orin-nx", "tensorrt", "11.4.0", "got 11.4.0; expected >=10.3,<11"),
        ("jetson-orin-nx", "tensorrt-rtx", "1.7", "was not made for tensorrt-rtx"),
        ("cpu", "tensorrt", "10.3", "target cpu was not made for tensorrt"),
    ],
)
def test_a_library_that_the_target_was_not_declared_for_is_refused(
    target, library, version, message
):
    with pytest.raises(EngineError, match=message):
        check_range(Library(library, None, version), tiny_target(target))
    check_range(Library("tensorrt", None, "10.3.0"), tiny_target("jetson-orin-nx"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"library": "tensorrt", "compute_capabilities": ("86",)}, "builds on the device"),
        ({"library": "tensorrt-rtx", "compute_capabilities": ("87",)}, "some of 75, 80"),
        ({"library": "tensorrt-rtx", "compute_capabilities": ("86", "86")}, "once"),
        ({"library": "tensorrt-rtx", "opt_level": 5}, "opt_level: only tensorrt"),
        ({"library": "tensorrt-rtx", "device": "dla:0"}, "a DLA needs tensorrt"),
        ({"library": "tensorrt", "error_on_timing_cache_miss": True}, "needs a timing_cache"),
        ({"library": "tensorrt", "opt_level": 6}, "opt_level.* got 6"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_one_line(options, message):
    with pytest.raises(UsageError, match=message) as caught:
        build_options(**options)
    assert "\n" not in str(caught.value)


def test_options_come_from_the_target_unless_asked_for():
    target = tiny_target("rtx-40", precision="fp16")
    options = options_for(target, workspace_gib=None, opt_level=None)
    assert (options.library, options.precision) == ("tensorrt-rtx", "fp16")
    assert options.compute_capabilities == ("89",)
    assert options_for(target, compute_capabilities=()).capabilities_label == "portable"
    assert options_for(target, library="tensorrt").compute_capabilities == ()
    assert options_for(target, library="tensorrt", device="dla:0").device == "dla:0"
    unlisted = tiny_target("rtx-40", compute_capabilities=("90",))
    assert options_for(unlisted).capabilities_label == "portable"
    with pytest.raises(UsageError, match="target cpu runs on onnxruntime, which needs no engine"):
        options_for(tiny_target("cpu"))


def test_the_same_build_in_a_shell():
    path = Path("a b/model.onnx")
    rtx_words = shlex.split(trtexec_command(path, Path("m.plan"), RTX, "1.7"))
    assert rtx_words == [
        "tensorrt_rtx", "--onnx=a b/model.onnx", "--saveEngine=m.plan", "--noTF32",
        "--computeCapabilities=86", "--skipInference",
    ]  # fmt: skip
    options = BuildOptions(
        library="tensorrt", precision="tf32", workspace_gib=1.5, opt_level=4, device="dla:1",
        timing_cache=Path("t.cache"), error_on_timing_cache_miss=True, version_compatible=True,
        hardware_compatibility="same-compute-capability",
    )  # fmt: skip
    command = trtexec_command(path, Path("m.plan"), options, "10.3.0")
    for word in (
        "--stronglyTyped", "--memPoolSize=workspace:1536", "--builderOptimizationLevel=4",
        "--timingCacheFile=t.cache", "--errorOnTimingCacheMiss", "--versionCompatible",
        "--hardwareCompatibilityLevel=sameComputeCapability", "--useDLACore=1",
        "--allowGPUFallback",
    ):  # fmt: skip
        assert f" {word} " in command
    assert "--noTF32" not in command
    assert "--stronglyTyped" not in trtexec_command(path, Path("m.plan"), options, "11.0.0")


@rtx
def test_an_engine_has_a_sidecar_that_says_all_about_it(model, tmp_path):
    target = tiny_target("rtx-40")
    built = engine_from_onnx(model, target, tmp_path / "out" / "m.plan", metadata={"task": "x"})
    sidecar = read_sidecar(built.plan)
    assert sidecar == built.sidecar
    assert (sidecar.target, sidecar.compute_capabilities) == ("rtx-40", ("89",))
    assert sidecar.plan_bytes == built.plan.stat().st_size
    assert sidecar.plan_sha256 == file_sha256(built.plan)
    assert sidecar.onnx_sha256 == file_sha256(model) and sidecar.forms == ("chain",)
    assert sidecar.activation_bytes > 0 and sidecar.weights_bytes >= 3376
    assert sidecar.metadata == {"task": "x"} and sidecar.manifest is None
    assert sidecar.trtexec.startswith("tensorrt_rtx --onnx=m.onnx ")
    assert {p.suffix for p in built.plan.parent.iterdir()} == {".plan", ".json"}


@rtx
def test_an_engine_is_built_from_the_forms_of_its_target(model, tmp_path):
    chain, plain = (
        engine_from_onnx(model, tiny_target("rtx-40", head=head), tmp_path / f"{head}.plan")
        for head in ("chain", "argmax")
    )
    assert (chain.sidecar.forms, plain.sidecar.forms) == (("chain",), ())
    assert chain.sidecar.onnx_sha256 == plain.sidecar.onnx_sha256
    operations = [len(program_operations(e.plan.read_bytes())) for e in (chain, plain)]
    assert operations[0] < operations[1]
    assert f"--onnx={model}" in plain.sidecar.trtexec


@rtx
def test_the_file_for_trtexec_gives_the_same_engine(tmp_path):
    bundle, form = tiny_bundle(tmp_path), tmp_path / "form.onnx"
    ran = CliRunner().invoke(
        main, ["build", str(bundle.path), "--onnx", str(form)], catch_exceptions=False
    )
    assert ran.exit_code == 0 and ran.output.strip() == str(form)
    assert not bundle.engines.exists()
    options = options_for(bundle.manifest.target)
    build_plan(form, tmp_path / "form.plan", options)
    assert build_engine(bundle, options).sidecar.plan_sha256 == file_sha256(tmp_path / "form.plan")


@rtx
def test_rebuilding_gives_the_same_bytes_and_tf32_only_where_asked(model, tmp_path):
    plans = []
    for name, precision in (("a", "fp32"), ("b", "fp32"), ("c", "tf32")):
        plan = tmp_path / f"{name}.plan"
        built = build_plan(model, plan, RTX.model_copy(update={"precision": precision}))
        assert ("TF32" in built.flags) == (precision == "tf32")
        plans.append(plan.read_bytes())
    assert plans[0] == plans[1]
    assert b"tf32=0" in plans[0] and b"tf32=1" in plans[2]


def broken(model: Path, change) -> Path:
    loaded = onnx.load(model)
    change(loaded)
    onnx.save(loaded, model)
    return model


def unknown_operator(loaded):
    loaded.graph.node[5].op_type = "Frobnicate"


def unnamed_wrong_order(loaded):
    loaded.graph.node[1].name = ""
    loaded.graph.node[1].attribute[0].ints[:] = [0, 3, 1]


@rtx
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (unknown_operator, r"refuses model\.onnx: node stem\.relu \(Frobnicate\): .*not found"),
        (unnamed_wrong_order, r"node number 1 \(Transpose\)"),
    ],
)
def test_a_refused_node_is_named(model, tmp_path, change, message):
    with pytest.raises(EngineError, match=message) as caught:
        build_in_process(broken(model, change), tmp_path / "m.plan", RTX)
    assert "\n" not in str(caught.value) and "/_src/" not in str(caught.value)


@rtx
@pytest.mark.parametrize("content", [b"", b"hello", b"\x08\x0a" * 40])
def test_a_file_that_is_no_onnx_is_refused(tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(EngineError, match=r"not an ONNX network|parser refuses"):
        build_plan(path, tmp_path / "m.plan", RTX)


@rtx
@pytest.mark.parametrize("unit", ["", " bytes"])
def test_memory_is_read_from_logs_of_2024_too(unit):
    lines = [
        "Detected 1 inputs and 1 output network tensors.",
        f"Total Activation Memory: 33555456{unit}",
        f"Total Weights Memory: 16060522496{unit}",
        "Engine generation completed in 12.3 seconds.",
    ]
    assert memory_in_log(lines) == {"Activation": 33555456, "Weights": 16060522496}
    assert memory_in_log(lines[:1]) == {}


def test_too_little_workspace_says_what_to_do(model, tmp_path):
    options = RTX.model_copy(update={"workspace_gib": 1e-6})
    with pytest.raises(EngineError, match=r"workspace limit.*Give more --workspace"):
        build_plan(model, tmp_path / "m.plan", options)


@rtx
def test_a_cancelled_build_leaves_nothing(model, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        engine_from_onnx(model, tiny_target(), out / "m.plan", progress=lambda *_: False)
    assert list(out.iterdir()) == []


@rtx
def test_a_folder_that_cannot_be_written_is_a_storage_error(model, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot write"):
        engine_from_onnx(model, tiny_target(), tmp_path / "file" / "m.plan")


def test_tensorrt_builds_on_the_gpu_that_was_asked_for(model, tmp_path, monkeypatch):
    def opened(device, provider):
        raise EngineError(f"opened {device} by {provider}")

    monkeypatch.setattr(build, "open_cuda", opened)
    options = BuildOptions(library="tensorrt", device="cuda:1").model_dump(mode="json")
    request = {"onnx": str(model), "plan": str(tmp_path / "m.plan"), "options": options}
    with pytest.raises(EngineError, match="opened cuda:1 by pycuda"):
        build.build_requested(request | {"cuda_memory": "pycuda"}, lambda *_: True)


def test_errors_cross_the_process_with_their_class(model, tmp_path):
    if is_installed("tensorrt"):
        pytest.skip("tensorrt is installed, so nothing is missing")
    with pytest.raises(MissingLibraryError, match="JetPack"):
        build_in_process(model, tmp_path / "m.plan", BuildOptions(library="tensorrt"))


def test_tensorrt_builds_on_the_targets_gpu_only(model, tmp_path, monkeypatch):
    gpu = Gpu(0, "NVIDIA T4", "75", 1, False, "12.4")
    monkeypatch.setattr(loader, "open_library", lambda *_: Library("tensorrt", None, "10.3.0"))
    monkeypatch.setattr(loader, "gpu_of", lambda device, provider: gpu)
    with pytest.raises(EngineError, match=r"got NVIDIA T4 \(SM75\); expected SM87"):
        engine_from_onnx(model, tiny_target("jetson-orin-nx"), tmp_path / "m.plan")


@rtx
def test_the_command_line_adds_an_engine_that_verify_accepts(tmp_path):
    bundle = tiny_bundle(tmp_path)
    ran = CliRunner().invoke(
        main, ["build", str(bundle.path), "--compute-capability", "86,89"], catch_exceptions=False
    )
    assert ran.exit_code == 0, ran.output
    (plan,) = bundle.engines.glob("*.plan")
    assert plan.name.endswith("-sm86-sm89.plan")
    assert f"engine: {plan}, {plan.stat().st_size:,} bytes" in ran.output
    assert f"artoolkit build {bundle.path} --onnx {plan.stem}.onnx && tensorrt_rtx" in ran.output
    sidecar = json.loads(plan.with_suffix(".json").read_text())
    assert sidecar["manifest"] == bundle.manifest.sha256
    assert sidecar["metadata"]["names"]["3"] == "pole"
    assert engine_problems(bundle) == []


@rtx
def test_a_portable_engine_and_a_wrong_capability_from_the_command_line(tmp_path):
    bundle = tiny_bundle(tmp_path)
    run = CliRunner().invoke
    assert run(main, ["build", str(bundle.path), "--compute-capability", "portable"]).exit_code == 0
    assert [p.name.rpartition("-")[2] for p in bundle.engines.glob("*.plan")] == ["portable.plan"]
    ran = run(main, ["build", str(bundle.path), "--compute-capability", "87"])
    assert ran.exit_code == UsageError.exit_code
    assert ran.output.startswith("error: ") and "some of 75, 80, 86" in ran.output


def test_a_bundle_has_one_precision(tmp_path):
    options = RTX.model_copy(update={"precision": "fp16"})
    with pytest.raises(UsageError, match=r"made for target rtx-40 in fp32; got fp16"):
        build_engine(tiny_bundle(tmp_path), options)


@pytest.mark.parametrize("written", ["89", "8.9", "sm_89", "SM89"])
def test_a_capability_as_people_write_it(written: str) -> None:
    options = options_for(tiny_target("rtx-40"), compute_capabilities=(written, "120"))
    assert options.compute_capabilities == ("89", "120")


@pytest.mark.parametrize("wrong", [("90",), ("89", "8.9")])
def test_a_capability_that_rtx_lacks_is_named_with_those_it_has(wrong: tuple[str, ...]) -> None:
    with pytest.raises(
        UsageError, match=r"75, 80, 86, 89, 120, 121, once each, or portable"
    ) as caught:
        options_for(tiny_target("rtx-40"), compute_capabilities=wrong)
    assert wrong[0] in str(caught.value)
    assert "library" not in str(caught.value)


def test_a_baseline_is_built_first_from_the_timings_of_the_pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []
    monkeypatch.setattr(loader, "build_engine", lambda one, options: built.append((one, options)))
    pair = SimpleNamespace(baseline="baseline")
    options = build_options(library="tensorrt")
    loader.build_engines(pair, options)
    (first, one), (second, other) = built
    assert one.timing_cache is not None
    assert (first, second) == ("baseline", pair)
    assert one == other
    built.clear()
    loader.build_engines(SimpleNamespace(baseline=None), options)
    assert built == [(SimpleNamespace(baseline=None), options)]
