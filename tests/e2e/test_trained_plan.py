"""Two trained checkpoints are one RTX program on every capability, found without a GPU."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from small_journey import Journey

from artoolkit.backends.tensorrt.program import compare_programs
from artoolkit.deploy.onnx import OnnxInfo, onnx_from_checkpoint
from artoolkit.graph.forms import write_form
from artoolkit.networks.checkpoint import read_checkpoint
from artoolkit.optional import is_installed
from artoolkit.targets import find_target

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("journey"),
    pytest.mark.skipif(not is_installed("tensorrt_rtx"), reason="tensorrt-rtx is not installed"),
]
# One plan for three capabilities, and one for all that RTX knows from 8.0 on.
CAPABILITIES = ("sm86-sm89-sm120", "portable")


def exported(journey: Journey, name: str, folder: Path, **changes: object) -> OnnxInfo:
    target = find_target("rtx-40", **{"imgsz": (64, 128), "precision": "fp32", **changes})
    path = folder / f"{name}-{len(list(folder.iterdir()))}.onnx"
    info = onnx_from_checkpoint(read_checkpoint(journey.checkpoint(name)), target, path)
    write_form(path, target.forms, path)
    return info


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_trained_pair_is_one_program(journey: Journey, tmp_path: Path, precision: str) -> None:
    a, b = (exported(journey, name, tmp_path, precision=precision) for name in ("baseline", "ar"))
    assert a.sha256 != b.sha256, "training changed the weights"
    found = compare_programs(
        a.path, b.path, trained=a.trained, compute_capabilities=CAPABILITIES,
        precision=precision,
    )  # fmt: skip
    assert [program.compute_capability for program in found] == list(CAPABILITIES)
    for program in found:
        assert program.result == "PASS", program.reason
        assert program.differing_bytes == 0 and program.weight_bytes > 0
        assert program.same_memory and program.activation_bytes[0]


def test_a_changed_attribute_fails(journey: Journey, tmp_path: Path) -> None:
    """Another form and another size do too: `tests/backends/tensorrt/test_program_icnet.py`."""
    baseline, candidate = (exported(journey, name, tmp_path) for name in ("baseline", "ar"))
    model = onnx.load(str(candidate.path))
    pool = next(node for node in model.graph.node if node.op_type == "MaxPool")
    kernel = next(a for a in pool.attribute if a.name == "kernel_shape")
    assert list(kernel.ints) == [3, 3]
    pads = next(a for a in pool.attribute if a.name == "pads")
    kernel.ints[:], pads.ints[:] = [5, 5], [side + 1 for side in pads.ints]
    changed = tmp_path / "changed.onnx"
    onnx.save(model, str(changed))
    (found,) = compare_programs(
        baseline.path, changed, trained=baseline.trained, compute_capabilities=("89",)
    )
    assert (found.result, found.compute_capability) == ("FAIL", "sm89")


def test_a_bundle_for_a_cpu_carries_the_proof_too(journey: Journey) -> None:
    verdict = json.loads((next((journey.bundle / "evidence").glob("*/verdict.json"))).read_text())
    (row,) = (check for check in verdict["checks"] if check["name"] == "program (TensorRT-RTX)")
    assert row["result"] == "PASS", row
    assert row["numbers"]["forms"] == []
    (program,) = row["numbers"]["programs"]
    assert program["compute_capability"] == "portable" and program["differing_bytes"] == 0
