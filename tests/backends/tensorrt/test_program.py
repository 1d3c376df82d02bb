"""The plan check: equal programs pass, any other program fails, and what it cannot tell it says."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from tiny_networks import TRAINED, write_tiny

from artoolkit.backends.tensorrt import operations as plan_program
from artoolkit.backends.tensorrt import program as plan
from artoolkit.backends.tensorrt.build import BuiltPlan, build_plan
from artoolkit.backends.tensorrt.program import ProgramCheck, compare_programs, in_words
from artoolkit.backends.tensorrt.weights import trained_weights
from artoolkit.errors import ExportError, MissingLibraryError
from artoolkit.graph.forms import write_seeded
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
        assert program.method == "bytes"
        assert program.weight_bytes == program.weights_memory_bytes[0] > 4 * 844
        assert program.program_bytes == program.total_bytes - program.weight_bytes > 100_000
        assert program.differing_bytes == 0
        assert program.same_memory and program.activation_bytes[0] > 0
        assert program.operations >= 5
    answer = in_words(found)
    assert answer.result == "PASS" and len(answer.details) == 4
    assert f"all {found[0].program_bytes:,} bytes of the program are equal" in answer.details[0]


@rtx
def test_half_precision_and_the_chain_head_pass_too(quick, tmp_path):
    a = write_tiny(tmp_path / "a.onnx", half=True, head="chain")
    b = write_tiny(tmp_path / "b.onnx", half=True, head="chain", seed=1)
    (found,) = check(a, b, precision="fp16")
    assert (found.result, found.method, found.differing_bytes) == ("PASS", "bytes", 0)


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
def test_int8_programs_are_compared_by_bytes_or_else_by_operations(quick, tmp_path):
    a = write_tiny(tmp_path / "a.onnx", int8=True)
    (same,) = check(a, write_tiny(tmp_path / "b.onnx", int8=True, seed=1), precision="int8")
    assert same.result == "PASS"
    assert (same.method == "operations") == (same.differing_bytes is None)
    (other,) = check(a, write_tiny(tmp_path / "c.onnx", int8=True, pool=5), precision="int8")
    assert other.result == "FAIL" and "sizes={ 3 3 }' against" in other.reason


def test_plans_in_an_unknown_form_tell_no_operations_and_decide_nothing():
    assert plan_program.program_operations(b"tvtrt" * 100) == ()
    assert plan_program.memory_plan(b"tvtrt" * 100) == ()
    assert plan_program.split_plan(b"tvtrt" * 100) is None
    assert plan._by_operations(b"1", b"1")[0] == "UNDECIDED"


def plan_of(program: bytes, weights: bytes, *, end: bytes = b"end") -> bytes:
    """A plan as RTX 1.7 writes it: a table of sections, the program, the constants, a tail."""
    places = ((b"NGNE", 112, len(program)), (b"THGW", 112 + len(program), len(weights)))
    table = b"".join(tag + bytes(4) + struct.pack("<QQ", *place) for tag, *place in places)
    return b"vtrt".ljust(112 - len(table), b"\0") + table + program + weights + end


def test_a_plan_is_split_by_its_own_table():
    parts = plan_program.split_plan(plan_of(b"program", b"weights!"))
    assert parts is not None and parts.constants_bytes == 8
    assert parts.program == plan_of(b"program", b"weights!").replace(b"weights!", b"")
    beyond = plan_of(b"program", b"weights!")[:-8]
    assert plan_program.split_plan(beyond) is None, "the table points out of the file"


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (("conv", "a", 16), None),
        (("pool", "a", 16), "operation 0: conv a (no ONNX node) against pool a (no ONNX node)"),
        (("conv", "a", 32), "size=16"),
    ],
)
def test_a_difference_is_an_operation_or_else_memory(other, difference):
    def text_of(kind: str, name: str, size: int) -> bytes:
        memory = f"header {{\n  region = {{ name=devmem size={size} }}\n"
        constants = "  tensor={ const_payload_size=4 dims={ 1 } }\n"
        program = f'main {{\n  {kind}={{ name="{name}" stream=0 }}\nshape_main {{\n'
        return (memory + constants + program).encode()

    found = plan_program.first_difference(text_of("conv", "a", 16), text_of(*other))
    assert found == difference or (difference and found and difference in found)


def merged_biases(name: str, value: np.ndarray) -> np.ndarray:
    return np.linspace(-1, 1, 8, dtype=np.float32) if name in ("stem.bias", "body.bias") else value


@rtx
def test_equal_weights_are_merged_alike_in_both(quick, tmp_path):
    pair = [
        write_tiny(tmp_path / f"{seed}.onnx", seed=seed, change=merged_biases) for seed in (0, 1)
    ]
    (found,) = check(*pair)
    assert (found.result, found.method) == ("PASS", "bytes")
    assert found.merged[0] == "stem.bias equals body.bias"


@rtx
def test_weights_that_merge_in_one_file_only_are_proved_with_seeded_ones(quick, baseline, tmp_path):
    merging = write_tiny(tmp_path / "merging.onnx", change=merged_biases)
    for pair in ((baseline, merging), (merging, baseline)):
        (found,) = check(*pair)
        assert (found.result, found.method, found.differing_bytes) == ("PASS", "operations", None)
        (detail,) = in_words([found]).details
        assert f"the same {found.operations} operations" in detail
        assert "equal bytes with seeded weights" in detail
        assert "(stem.bias equals body.bias)" in detail


@rtx
def test_merging_hides_no_other_program(quick, baseline, tmp_path):
    other = write_tiny(tmp_path / "other.onnx", change=merged_biases, pool=5)
    (found,) = check(baseline, other)
    assert found.result == "FAIL" and "in the candidate stem.bias equals body.bias" in found.reason


@rtx
def test_zero_biases_of_both_are_one_program(quick, tmp_path):
    def zero(name, value):
        return np.zeros_like(value) if name.endswith("bias") else value

    pair = [write_tiny(tmp_path / f"{seed}.onnx", seed=seed, change=zero) for seed in (0, 1)]
    (found,) = check(*pair)
    assert (found.result, found.method, found.differing_bytes) == ("PASS", "bytes", 0)


@rtx
def test_another_constant_fails_though_the_program_is_the_same(quick, baseline, tmp_path):
    """The normalisation of the image is no trained parameter."""
    model = onnx.load(str(write_tiny(tmp_path / "other.onnx", seed=1)))
    for tensor in model.graph.initializer:
        if tensor.name == "mean":
            value = onnx.numpy_helper.to_array(tensor) + np.float32(1)
            tensor.CopyFrom(onnx.numpy_helper.from_array(value, "mean"))
    onnx.save(model, str(tmp_path / "other.onnx"))
    (found,) = check(baseline, tmp_path / "other.onnx")
    assert (found.result, found.reason) == ("FAIL", "another constant: mean")


@rtx
def test_each_build_gets_a_process_of_its_own_and_progress_is_reported(baseline, tmp_path):
    seen = []
    candidate = write_tiny(tmp_path / "candidate.onnx", seed=1)
    found = check(baseline, candidate, progress=lambda what, share: seen.append(what) or True)
    assert found[0].result == "PASS"
    assert {label.split()[0] for label in seen} == {"baseline", "candidate"}


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
    ("candidate", "seeded", "result"),
    [
        (plan_of(b"program", b"\1" * 90), b"", "PASS"),
        (plan_of(b"prograM", b"\1" * 90), b"", "FAIL"),
        (plan_of(b"program", b"\1" * 90, end=b"fin"), b"", "FAIL"),
        (plan_of(b"program", b"\1" * 91), b"", "FAIL"),
        (b"program", b"", "UNDECIDED"),
    ],
)
def test_bytes_decide(baseline, monkeypatch, candidate, seeded, result):
    plans = {"baseline": plan_of(b"program", bytes(90)), "candidate": candidate, "seeded": seeded}
    monkeypatch.setattr(plan, "build_in_process", FakeBuilder(plans))
    monkeypatch.setattr(plan, "open_library", lambda *_: None)
    (found,) = check(baseline, baseline)
    assert found.result == in_words([found]).result == result
    assert not found.same_memory, "the log did not tell the weights' memory"


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int8, np.int32])
def test_seeded_weights_depend_on_names_alone_and_merge_nowhere(tmp_path, dtype):
    def file(seed: int) -> Path:
        rng = np.random.default_rng(seed)
        stored = [
            onnx.numpy_helper.from_array((9 * rng.random(64)).astype(dtype), name)
            for name in ("a", "b", "constant")
        ]
        # A graph without a node is none; this one leaves the stored tensors alone.
        node = onnx.helper.make_node("Identity", ["constant"], ["out"])
        graph = onnx.helper.make_graph([node], "g", [], [], stored)
        onnx.save(onnx.helper.make_model(graph), str(tmp_path / f"{seed}.onnx"))
        return tmp_path / f"{seed}.onnx"

    found = []
    for seed in (0, 1):
        write_seeded(file(seed), ("a", "b"), tmp_path / "seeded.onnx")
        stored = onnx.load(str(tmp_path / "seeded.onnx")).graph.initializer
        found.append({t.name: onnx.numpy_helper.to_array(t) for t in stored})
    for name in ("a", "b"):
        assert np.array_equal(found[0][name], found[1][name])
        assert found[0][name].dtype == dtype
    assert not np.array_equal(found[0]["constant"], found[1]["constant"])
    weights = trained_weights(tmp_path / "seeded.onnx", ("a", "b"))
    assert weights.merging == ()


def test_a_name_that_is_no_initialiser_is_an_error(baseline):
    with pytest.raises(ExportError, match=r"lacks the trained parameter stem\.gamma \(1 in all\)"):
        trained_weights(baseline, (*TRAINED, "stem.gamma"))


def test_values_that_a_compiler_may_fold_are_named(tmp_path):
    def change(name, value):
        if name == "stem.bias":
            return np.ones_like(value)
        return np.zeros_like(value) if name == "body.weight" else value

    found = trained_weights(write_tiny(tmp_path / "odd.onnx", change=change), TRAINED)
    assert found.merging == ("body.weight is 0 everywhere", "stem.bias is 1 everywhere")
    assert not found.quantised
