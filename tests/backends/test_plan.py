"""The plan check: equal programs pass, any other program fails, and what it cannot tell it says."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_networks import TRAINED, write_tiny

from artoolkit.backends.tensorrt import operations as plan_program
from artoolkit.backends.tensorrt import program as plan
from artoolkit.backends.tensorrt.build import BuiltPlan, build_plan
from artoolkit.backends.tensorrt.program import ProgramCheck, compare_programs, in_words
from artoolkit.backends.tensorrt.weights import flip, trained_weights
from artoolkit.errors import ExportError, MissingLibraryError
from artoolkit.optional import is_installed

rtx = pytest.mark.skipif(not is_installed("tensorrt_rtx"), reason="tensorrt-rtx is not installed")


@pytest.fixture
def quick(monkeypatch):
    """Builds in this process: a fresh one each, as users get it, takes a second longer."""

    def build(onnx, path, options, *, progress=None):
        return build_plan(onnx, path, options, progress=progress)

    monkeypatch.setattr(plan, "build_in_process", build)


@pytest.fixture
def baseline(tmp_path) -> Path:
    return write_tiny(tmp_path / "baseline.onnx")


def check(baseline: Path, candidate: Path, **options) -> tuple[ProgramCheck, ...]:
    return compare_programs(baseline, candidate, trained=TRAINED, **options)


@rtx
def test_two_checkpoints_of_one_network_compile_to_one_program(quick, baseline, tmp_path):
    candidate = write_tiny(tmp_path / "candidate.onnx", seed=1)
    found = check(baseline, candidate, compute_capabilities=("86", "89", "120", "portable"))
    assert [p.compute_capability for p in found] == ["sm86", "sm89", "sm120", "portable"]
    for program in found:
        assert program.weight_bytes == 4 * (216 + 8 + 576 + 8 + 32 + 4)
        assert program.program_bytes == program.total_bytes - program.weight_bytes > 100_000
        assert program.differing_bytes == 0
        assert program.same_memory and program.activation_bytes[0] > 0
        assert program.operations >= 5
    answer = in_words(found)
    assert answer.result == "PASS" and len(answer.details) == 4
    assert answer.details[0].endswith(f"{found[0].total_bytes:,} bytes, of which 3,376 are weights")


@rtx
def test_half_precision_and_the_chain_head_pass_too(quick, tmp_path):
    a = write_tiny(tmp_path / "a.onnx", half=True, head="chain")
    b = write_tiny(tmp_path / "b.onnx", half=True, head="chain", seed=1)
    found = check(a, b, precision="fp16")
    assert (found[0].result, found[0].weight_bytes) == ("PASS", 2 * 844)


@rtx
@pytest.mark.parametrize(
    ("what", "place"),
    [
        ({"pool": 5}, "maxpool pool"),
        ({"head": "chain"}, "operation"),
        ({"classes": 5}, "operation"),
        ({"size_hw": (64, 64)}, "bytes"),
    ],
)
def test_another_attribute_head_class_count_or_size_fails(quick, baseline, tmp_path, what, place):
    (found,) = check(baseline, write_tiny(tmp_path / "candidate.onnx", seed=1, **what))
    assert (found.result, found.compute_capability) == ("FAIL", "portable")
    assert place in found.reason
    assert found.differing_bytes > 0


@rtx
def test_int8_programs_are_compared_by_their_operations_and_memory(quick, tmp_path):
    a = write_tiny(tmp_path / "a.onnx", int8=True)
    (same,) = check(a, write_tiny(tmp_path / "b.onnx", int8=True, seed=1), precision="int8")
    assert same.result == "PASS"
    assert same.method == "operations" and same.differing_bytes is None
    (other,) = check(a, write_tiny(tmp_path / "c.onnx", int8=True, pool=5), precision="int8")
    assert other.result == "FAIL" and "sizes={ 3 3 }' against" in other.reason


def test_plans_in_an_unknown_form_tell_no_operations_and_decide_nothing():
    assert plan_program.program_operations(b"tvtrt" * 100) == ()
    assert plan_program.memory_plan(b"tvtrt" * 100) == ()
    assert plan._by_operations(b"1", b"1")[0] == "UNDECIDED"


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (("conv", "a", 16), None),
        (("pool", "a", 16), "operation 0: conv a (no ONNX node) against pool a (no ONNX node)"),
        (("conv", "a", 32), "size=16"),
    ],
)
def test_a_difference_is_an_operation_or_else_memory(other, difference):
    def plan_of(kind: str, name: str, size: int) -> bytes:
        memory = f"header {{\n  region = {{ name=devmem size={size} }}\n"
        constants = "  tensor={ const_payload_size=4 dims={ 1 } }\n"
        program = f'main {{\n  {kind}={{ name="{name}" stream=0 }}\nshape_main {{\n'
        return (memory + constants + program).encode()

    found = plan_program.first_difference(plan_of("conv", "a", 16), plan_of(*other))
    assert found == difference or (difference and found and difference in found)


@rtx
def test_equal_weights_are_merged_by_the_compiler_and_named(quick, baseline, tmp_path):
    bias = np.linspace(-1, 1, 8, dtype=np.float32)

    def merge(name, value):
        return bias if name in ("stem.bias", "body.bias") else value

    merging = write_tiny(tmp_path / "merging.onnx", change=merge)
    assert "stem.bias equals body.bias" in check(baseline, merging)[0].reason
    (open_question,) = check(merging, baseline)
    assert open_question.result == "UNDECIDED"
    assert "stem.bias equals body.bias" in open_question.reason
    assert "3,344 bytes of the plan are weights where the ONNX file holds 3,376" in (
        open_question.reason
    )


@rtx
def test_each_build_gets_a_process_of_its_own_and_progress_is_reported(baseline, tmp_path):
    seen = []
    candidate = write_tiny(tmp_path / "candidate.onnx", seed=1)
    found = check(baseline, candidate, progress=lambda what, share: seen.append(what) or True)
    assert found[0].result == "PASS"
    assert {label.split()[0] for label in seen} == {"baseline", "candidate", "flipped"}


def test_a_capability_that_rtx_does_not_list_is_checked_as_portable():
    assert [plan._known(c) for c in ("86", "sm86-sm89", "87", "portable")] == [
        "86", "sm86-sm89", "portable", "portable"
    ]  # fmt: skip


@rtx
def test_refusing_to_go_on_stops_the_check(baseline):
    with pytest.raises(KeyboardInterrupt):
        check(baseline, baseline, progress=lambda what, share: False)


def test_without_the_library_it_says_what_to_install(baseline, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(MissingLibraryError, match=r"artoolkit\[rtx\]"):
        check(baseline, baseline)


class FakeBuilder:
    """Stands for the compiler: the plan is a header and what `program` makes of the weights."""

    def __init__(self, plans: dict[str, bytes]) -> None:
        self.plans = plans

    def __call__(self, onnx, path, options, *, progress=None):
        content = self.plans[path.stem]
        path.write_bytes(content)
        return BuiltPlan(
            library_version="1.0", plan_bytes=len(content), activation_bytes=7,
            weights_bytes=None, seconds=0.1, flags=(),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("flipped", "candidate", "result"),
    [
        (b"\xff" * 3376, b"\x01" * 3376 + b"program", "PASS"),
        (b"\xff" * 3376, b"\x01" * 3376 + b"prograM", "FAIL"),
        (b"\xff" * 3376, b"\x01" * 3376 + b"program+", "FAIL"),
        (b"\xff" * 3375 + b"\0", b"\x01" * 3376 + b"program", "UNDECIDED"),
        (b"\xff" * 3377, b"\x01" * 3376 + b"program", "UNDECIDED"),
    ],
)
def test_bytes_decide(baseline, monkeypatch, flipped, candidate, result):
    plans = {
        "baseline": bytes(3376) + b"program",
        "flipped": flipped + b"program",
        "candidate": candidate,
    }
    monkeypatch.setattr(plan, "build_in_process", FakeBuilder(plans))
    monkeypatch.setattr(plan, "open_library", lambda *_: None)
    (found,) = check(baseline, baseline)
    assert found.result == in_words([found]).result == result
    assert not found.same_memory, "the log did not tell the weights' memory"


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int8, np.uint8])
def test_flipping_changes_every_byte_and_keeps_values_finite(dtype):
    values = (np.random.default_rng(0).normal(0, 1, 1000) * 50).astype(dtype)
    values[:2] = 0, 1
    flipped = flip(values)
    assert flipped.dtype == dtype
    assert (values.view(np.uint8) != flipped.view(np.uint8)).all()
    assert np.isfinite(flipped.astype(np.float64)).all()
    assert np.array_equal(flip(flipped), values)


def test_flipping_refuses_what_no_weight_is():
    with pytest.raises(ExportError, match="not known; got float64"):
        flip(np.zeros(3))


def test_a_name_that_is_no_initialiser_is_an_error(baseline):
    with pytest.raises(ExportError, match=r"lacks the trained parameter stem\.gamma \(1 in all\)"):
        trained_weights(baseline, (*TRAINED, "stem.gamma"))


def test_values_that_a_compiler_may_fold_are_named(tmp_path):
    def change(name, value):
        if name == "stem.bias":
            return np.ones_like(value)
        return value * np.nan if name == "body.weight" else value

    found = trained_weights(write_tiny(tmp_path / "odd.onnx", change=change), TRAINED)
    assert found.merging == ("body.weight holds NaN", "stem.bias is 1 everywhere")
    assert not found.quantised
