"""The paper's real-time network as RTX engines, without a GPU: equal programs, other forms."""

from __future__ import annotations

from pathlib import Path

import pytest

from artoolkit.backends.tensorrt.loader import engine_from_onnx, options_for
from artoolkit.backends.tensorrt.program import compare_programs
from artoolkit.graph.forms import write_form
from artoolkit.optional import is_installed
from artoolkit.spec import Target
from artoolkit.targets import find_target

NEEDED = ("torch", "onnxscript", "tensorrt_rtx")
MISSING = [name for name in NEEDED if not is_installed(name)]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]
CAPABILITIES = ("86", "89", "120", "portable")
TARGET = find_target("rtx-40", imgsz=(512, 1024))


def export(folder: Path, seed: int, target: Target, classes: int = 19) -> tuple[Path, tuple]:
    """ICNet with the weights of `seed` and settled batch normalisation, in the target's form."""
    from artoolkit.deploy.onnx import onnx_from_checkpoint
    from artoolkit.deploy.untrained import untrained_checkpoint

    checkpoint = untrained_checkpoint("icnet", classes, seed=seed)
    info = onnx_from_checkpoint(checkpoint, target, folder / f"{seed}-{target.precision}.onnx")
    form = info.path.with_suffix(".form.onnx")
    write_form(info.path, target.forms, form)
    return form, info.trained


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_two_checkpoints_are_one_program_on_every_capability(tmp_path, precision):
    target = TARGET.model_copy(update={"precision": precision})
    (a, trained), (b, _) = (export(tmp_path, seed, target) for seed in (0, 1))
    found = compare_programs(
        a, b, trained=trained, compute_capabilities=CAPABILITIES, precision=precision
    )
    for program in found:
        assert program.result == "PASS", program.reason
        assert program.method == "bytes" and program.differing_bytes == 0
        assert program.weight_bytes >= 26_742_860 // (2 if precision == "fp16" else 1)
        assert program.program_bytes > 1_000_000
        assert program.same_memory and program.activation_bytes[0] > 10_000_000


def test_another_form_another_size_and_rebuilding(tmp_path):
    a, trained = export(tmp_path, 0, TARGET)
    for change in ({"head": "argmax"}, {"imgsz": (512, 1056)}):
        (tmp_path / "other").mkdir(exist_ok=True)
        other, _ = export(tmp_path / "other", 1, TARGET.model_copy(update=change))
        found = compare_programs(a, other, trained=trained, compute_capabilities=("89",))
        assert found[0].result == "FAIL", change
    plain = tmp_path / f"0-{TARGET.precision}.onnx"
    options = options_for(TARGET, compute_capabilities=("86", "89", "120"))
    target = TARGET.model_copy(update={"precision": options.precision})
    first, second = (
        engine_from_onnx(plain, target, tmp_path / f"{name}.plan", options=options) for name in "xy"
    )
    assert first.sidecar.plan_sha256 == second.sidecar.plan_sha256
    assert first.sidecar.activation_bytes and first.sidecar.weights_bytes
