"""`export` from Python: which pairs it takes, what it leaves in float, whom it blames."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from deploy.tiny_network import CLASSES, Tiny, seeded_images, target, tiny_checkpoint

from artoolkit.backends.openvino import backend as openvino_backend
from artoolkit.backends.openvino.loader import computes
from artoolkit.checks.contest import Contestant, terms_of
from artoolkit.checks.outputs import OUTPUTS
from artoolkit.cost.benchmark import BenchmarkSettings
from artoolkit.deploy.export import export_bundle
from artoolkit.deploy.untrained import untrained_checkpoint
from artoolkit.errors import CheckpointError, UsageError
from artoolkit.exporting import Task, benchmark_grid, export, measured_outputs
from artoolkit.networks import builder
from artoolkit.optional import is_installed
from artoolkit.spec import Margins

# Not one rounding: no export can hold it.
IMPOSSIBLE = Margins(scores_atol={"fp32": 0.0, "fp16": 0.0})


@pytest.fixture(autouse=True)
def tiny_network(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = builder.Entry(lambda num_classes, layout=None: Tiny(num_classes), {}, "for tests")
    monkeypatch.setitem(builder.NETWORKS, "tiny", entry)


@pytest.mark.parametrize(("precision", "layer"), [("fp16", r"\w[\w.]* \d\S*"), ("fp32", None)])
def test_a_gate_that_is_missed_names_the_layers(
    tmp_path: Path, precision: str, layer: str | None
) -> None:
    device = target(precision=precision, margins=IMPOSSIBLE)
    task = Task(checkpoint=tiny_checkpoint(), target=device, dataset=None)
    bundle = export_bundle(
        task.checkpoint, device, tmp_path / "bundle", images=list(seeded_images(1))
    )
    record = measured_outputs(task, bundle)
    side = Contestant(bundle).subject
    check = OUTPUTS.judge({"outputs.json": record}, terms_of(bundle.manifest, side, side))
    assert check.result == "FAIL"
    assert record.layers is not None
    assert (len(record.layers) > 1) == (layer is not None)
    assert all(re.fullmatch(layer or "", text) for text in record.layers)
    assert check.numbers["layers"] == list(record.layers)


@pytest.mark.skipif(not is_installed("openvino"), reason="openvino is not installed")
def test_bf16_is_held_to_the_trained_network_where_it_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The graph is float32's: ONNX Runtime would show its rounding, and no other."""
    device = target(precision="bf16", backend="openvino")
    task = Task(checkpoint=tiny_checkpoint(), target=device, dataset=None)
    with monkeypatch.context() as patched:
        patched.setattr(openvino_backend, "computes", lambda *_: True)
        bundle = export_bundle(
            task.checkpoint, device, tmp_path / "bundle", images=list(seeded_images(1))
        )
    record = measured_outputs(task, bundle)
    if not computes("cpu", "bf16"):
        assert record is None
        return
    assert record is not None
    # bf16 keeps 8 bits: thousandths of the largest score, where float32 keeps ten-millionths.
    assert record.scores_max_rel is not None
    assert record.scores_max_rel > 1e-4


def test_random_weights_have_no_layers_to_find(tmp_path: Path) -> None:
    random = untrained_checkpoint("tiny", CLASSES)
    made = export(random, out=tmp_path / "bundle", target=target(), precision="int8", golden=1)
    assert made.verdict is None
    manifest = made.bundle.manifest
    assert (manifest.target.name, manifest.target.precision) == ("test", "int8")
    assert manifest.provenance["calibration"]["sensitivity"] is None


def test_what_does_not_fit_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    candidate, out = tiny_checkpoint(), tmp_path / "bundle"
    with pytest.raises(CheckpointError, match="checkpoint and baseline differ in options"):
        export(candidate, out=out, baseline=tiny_checkpoint(options={"width": 0.5}))
    with pytest.raises(UsageError, match="is for int8; got fp32"):
        export(candidate, out=out, target=target(), float_layers=["stem"])
    with pytest.raises(UsageError, match="tensorrt-rtx on cuda:0"):
        export(candidate, out=out, target="rtx-40", tune_session=True)
    assert not out.exists()


def test_a_grid_over_precisions_has_a_row_for_what_cannot_run(tmp_path: Path) -> None:
    device = target(precisions=("fp32", "fp16"))
    bundle = export_bundle(tiny_checkpoint(), device, tmp_path / "b", images=list(seeded_images(1)))
    network = bundle.manifest.network
    plan = BenchmarkSettings(warmup_ms=0, duration_s=0, iterations=2)
    rows = benchmark_grid(
        bundle.path, ["fp32", "int8"], [(64, 64), (32, 64)], plan=plan, memory=False
    )
    assert network == "tiny"
    assert [(row["precision"], row["imgsz"]) for row in rows] == [
        ("fp32", "64 x 64"), ("int8", "64 x 64"), ("fp32", "32 x 64"), ("int8", "32 x 64")
    ]  # fmt: skip
    assert all(row["median ms"] > 0 for row in rows[::2])
    assert all("runs fp32, fp16, not int8" in row["unavailable"] for row in rows[1::2])
