"""The controlled pair for `tensorrt`, on inspector reports of both schemas and a faked builder."""

from __future__ import annotations

import json
import re

import pytest
from fake_inspector import FakeMachine, read, report

from artoolkit.backends.tensorrt import pair as module
from artoolkit.backends.tensorrt.options import BuildOptions
from artoolkit.backends.tensorrt.pair import compare_engines
from artoolkit.errors import EngineError, MissingLibraryError
from artoolkit.optional import is_installed

OPTIONS = BuildOptions(library="tensorrt")


@pytest.mark.parametrize("major", [10, 11])
def test_both_schemas_give_layers_tactics_and_formats(major):
    found = read(report(major))
    assert [layer.kind for layer in found.layers] == ["CaskConvolution", "kgen"]
    assert found.layers[0].tactic == "sm80_xmma_fprop_implicit_gemm 0x1"
    assert "[1, 3, 8, 8] fp16 row" in found.layers[0].tensors
    assert found.io[0].startswith("image")
    assert found.difference(read(report(major))) is None


@pytest.mark.parametrize("major", [10, 11])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tactic": "0x2"}, r"layer 0, stem \+ stem.relu: tactic .*0x1 against .*0x2"),
        ({"Name": "stem"}, r"name stem \+ stem.relu against stem"),
        ({"form": "fp16 channel8"}, "tensors .*row.* against .*channel8"),
        ({"Kernel": [5, 5]}, "parameters"),
        ({"LayerType": "CudnnConvolution"}, "kind CaskConvolution against CudnnConvolution"),
    ],
)
def test_a_difference_is_named(major, change, message):
    found = read(report(major)).difference(read(report(major, **change)))
    assert found is not None and re.search(message, found)


def test_names_the_compiler_counts_up_are_no_difference_but_memory_and_length_are():
    renamed = report().replace("__mye12_head", "__mye99_head")
    assert read(report()).difference(read(renamed)) is None
    assert read(report()).difference(read(report(), 104)) == "device memory 100 against 104 bytes"
    shorter = json.loads(report())
    shorter["Layers"].pop()
    found = read(report()).difference(read(json.dumps(shorter)))
    assert found == "2 layers against 1, from layer 1 (__mye#_head)"


@pytest.mark.parametrize("text", ["", "{}", '{"Layers": ["stem", "head"]}', "[]"])
def test_a_report_of_names_only_is_refused(text):
    with pytest.raises(EngineError, match="tells no details"):
        read(text)


def run(tmp_path, **more):
    return compare_engines(tmp_path / "a.onnx", tmp_path / "b.onnx", tmp_path, OPTIONS, **more)


def test_equal_engines_pass_and_only_the_first_build_may_time(tmp_path, monkeypatch):
    machine = FakeMachine(monkeypatch, [report()] * 3, [report()] * 3)
    found = run(tmp_path)
    assert found.result == "PASS"
    assert found.numbers["layers"] == 2
    assert found.numbers["device_memory_bytes"] == [[100] * 3, [100] * 3]
    names = [name for name, _ in machine.built]
    assert names == [f"{arm}-{n}" for arm in ("baseline", "candidate") for n in (1, 2, 3)]
    assert [o.error_on_timing_cache_miss for _, o in machine.built] == [False] + [True] * 5
    assert {o.timing_cache for _, o in machine.built} == {tmp_path / "timing.cache"}


@pytest.mark.parametrize(
    ("baseline", "candidate", "result", "message"),
    [
        ([report()] * 3, [report(tactic="0x2")] * 3, "FAIL", "layer 0"),
        (
            [report(), report(tactic="0x2"), report()], [report()] * 3,
            "UNDECIDED", "the baseline",
        ),
        (
            [report()] * 3, [report(), report(), report(Kernel=[1, 1])],
            "UNDECIDED", "the candidate",
        ),
        (
            [report()] * 3, [EngineError("a tactic is not in the timing cache")],
            "FAIL", "a tactic is not in the timing cache",
        ),
    ],
)  # fmt: skip
def test_other_engines_fail_and_noise_is_undecided(
    tmp_path, monkeypatch, baseline, candidate, result, message
):
    FakeMachine(monkeypatch, baseline, candidate)
    found = run(tmp_path)
    assert found.result == result
    assert message in " ".join((found.headline, *found.details))


@pytest.mark.parametrize(("problem", "message"), [(None, "every weight"), ("no w3", "no w3")])
def test_refit_is_a_diagnostic_that_decides_nothing(tmp_path, monkeypatch, problem, message):
    machine = FakeMachine(monkeypatch, [report()] * 3, [report()] * 3)
    monkeypatch.setattr(module, "refit_plan", lambda plan, onnx: problem)
    found = run(tmp_path, refit=True)
    assert found.result == "PASS"
    assert message in found.details[-1]
    assert machine.built[-1][1].refittable and machine.built[-1][1].timing_cache is None


def test_two_builds_show_no_spread(tmp_path):
    with pytest.raises(ValueError, match="at least 3"):
        run(tmp_path, builds=2)


def test_without_tensorrt_it_says_what_to_install(tmp_path, monkeypatch):
    def missing(*_):
        raise MissingLibraryError("the plan check needs tensorrt", hint="Install it: pip")

    monkeypatch.setattr(module, "open_library", missing)
    with pytest.raises(MissingLibraryError):
        run(tmp_path)


@pytest.mark.gpu
@pytest.mark.slow
def test_a_real_pair_passes_and_another_network_fails(tmp_path):
    from tiny_networks import write_tiny

    from artoolkit.backends.tensorrt.cuda import open_cuda
    from artoolkit.errors import BackendError

    try:
        open_cuda("cuda:0").close()
    except (BackendError, MissingLibraryError) as reason:
        pytest.skip(f"no NVIDIA GPU: {reason}")
    if not is_installed("tensorrt"):
        pytest.skip("tensorrt is not installed")
    a = write_tiny(tmp_path / "a.onnx")
    b = write_tiny(tmp_path / "b.onnx", seed=1)
    other = write_tiny(tmp_path / "other.onnx", seed=1, pool=5)
    assert compare_engines(a, b, tmp_path, OPTIONS).result == "PASS"
    assert compare_engines(a, other, tmp_path, OPTIONS).result == "FAIL"
