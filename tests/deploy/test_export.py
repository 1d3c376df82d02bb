"""Whole bundles: both precisions, baseline inside, and nothing left behind by a failure."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from artoolkit.backends import open_runner
from artoolkit.backends.onnxruntime.runner import open_onnxruntime
from artoolkit.commit import source_commit
from artoolkit.deploy import export
from artoolkit.deploy.export import export_bundle
from artoolkit.deploy.graph import deployed_module
from artoolkit.deploy.onnx import graph_from_checkpoint
from artoolkit.errors import ExportError, StorageError, UsageError
from artoolkit.evidence.bundle import MANIFEST
from artoolkit.evidence.contents import file_problems
from artoolkit.evidence.delta import refit_bundle, write_delta
from artoolkit.evidence.seal import file_sha256
from artoolkit.evidence.signature import bundle_files
from artoolkit.graph.identity import compare_graphs
from artoolkit.spec import SessionOptions
from deploy.tiny_network import seeded_images, target, tiny_checkpoint

IMAGES = list(seeded_images(2, (60, 60)))


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_bundle_with_its_baseline_holds_one_graph_twice(tmp_path: Path, precision: str) -> None:
    bundle = export_bundle(
        tiny_checkpoint(1),
        target(precision=precision),
        tmp_path / "deep" / "bundle",
        images=IMAGES,
        baseline=tiny_checkpoint(0),
        provenance={"command": ["artoolkit", "export"]},
    )
    assert file_problems(bundle.path) == []
    assert bundle.baseline is not None
    a, b = bundle.baseline.manifest, bundle.manifest
    models = [onnx.load(str(one.model)) for one in (bundle.baseline, bundle)]
    assert compare_graphs(*models, a.trained, b.trained) == ()
    assert b.provenance["command"] == ["artoolkit", "export"]
    assert b.provenance["census"]["Conv"] == 4
    assert b.provenance.get("calibration") == a.provenance.get("calibration")
    assert ("calibration" in b.provenance) is (precision == "int8")
    assert json.loads((bundle.path / "manifest.json").read_text())["num_classes"] == 5
    assert [p.name for p in bundle.path.parent.iterdir()] == ["bundle"]
    # The trained tensors alone make the one of the other, to the byte, in integers too.
    delta = write_delta(bundle.baseline.path, bundle.path, tmp_path / "delta")
    assert delta.trained == len(b.trained) - len(_equal(models, b.trained))
    made = refit_bundle(bundle.baseline.path, tmp_path / "delta", tmp_path / "made")
    assert bundle_files(made.path) == bundle_files(bundle.path)


def _equal(models: list[onnx.ModelProto], names: tuple[str, ...]) -> list[str]:
    """The trained tensors that are the same in both."""
    ours, theirs = ({t.name: t.raw_data for t in m.graph.initializer} for m in models)
    return [name for name in names if ours[name] == theirs[name]]


def test_the_chain_begins_at_the_file_of_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"weights")
    checkpoint = replace(tiny_checkpoint(), path=path)
    bundle = export_bundle(checkpoint, target(), tmp_path / "bundle", images=IMAGES)
    provenance = bundle.manifest.provenance
    assert provenance["checkpoint"] == file_sha256(path)
    assert provenance["commit"] == source_commit()
    assert set(bundle.manifest.trained) <= set(bundle.manifest.parts["model.onnx"])


def test_golden_labels_are_the_trained_networks(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint()
    bundle = export_bundle(checkpoint, target(batch=2), tmp_path / "bundle", images=IMAGES)
    golden = bundle.golden()
    assert golden["images"].shape == (2, 40, 56, 3)
    deployed = deployed_module(checkpoint.network(), checkpoint.meta.preprocess, target())
    with torch.inference_mode():
        expected = deployed(torch.from_numpy(golden["images"])).numpy()
    np.testing.assert_array_equal(golden["labels"], expected)
    with open_onnxruntime(bundle.model, threads=1) as runner:
        same = runner.infer(golden["images"])["labels"] == golden["labels"]
    assert same.mean() >= 0.9999


def test_two_exports_are_the_same_bytes_and_name_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "graph_from_checkpoint", graph_from_checkpoint)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    path = tmp_path / "somebody" / "model.safetensors"
    path.parent.mkdir()
    path.write_bytes(b"weights")
    checkpoint = replace(tiny_checkpoint(), path=path)
    bundles = [
        export_bundle(checkpoint, target(), tmp_path / name / "bundle", images=IMAGES)
        for name in "xy"
    ]
    one, other = (bundle_files(bundle.path) for bundle in bundles)
    assert one == other
    assert bundles[0].manifest.created == "2023-11-14T22:13:20+00:00"
    assert "somebody" not in (bundles[0].path / MANIFEST).read_text()
    monkeypatch.undo()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(UsageError, match="SOURCE_DATE_EPOCH"):
        export_bundle(tiny_checkpoint(), target(), tmp_path / "z", images=IMAGES)


def test_a_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ExportError("no")

    monkeypatch.setattr(export, "graph_from_checkpoint", fail)
    with pytest.raises(ExportError, match="no"):
        export_bundle(tiny_checkpoint(), target(), tmp_path / "bundle", images=IMAGES)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_taken_or_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").touch()
    with pytest.raises(UsageError, match="exists and is not a bundle"):
        export_bundle(tiny_checkpoint(), target(), tmp_path / "taken", images=IMAGES)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        export_bundle(tiny_checkpoint(), target(), tmp_path / "file" / "bundle", images=IMAGES)


def test_golden_images_are_needed(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="at least one golden image"):
        export_bundle(tiny_checkpoint(), target(), tmp_path / "bundle", images=[])


def test_session_options_are_measured_once_and_are_those_of_both_bundles(tmp_path: Path) -> None:
    seen: list[tuple[bytes, tuple[int, ...]]] = []
    chosen = SessionOptions(threads=1, spinning=False)

    def tune(model: Path, images: np.ndarray) -> tuple[SessionOptions, dict[str, Any]]:
        seen.append((model.read_bytes(), images.shape))
        return chosen, {"tried": 3}

    baseline = tiny_checkpoint(1)
    bundle = export_bundle(
        tiny_checkpoint(), target(threads=None), tmp_path / "bundle", images=IMAGES,
        baseline=baseline, tune=tune,
    )  # fmt: skip
    assert bundle.baseline is not None
    ((model, shape),) = seen
    assert model == bundle.baseline.model.read_bytes()
    assert shape == (1, 40, 56, 3), "as the model takes them"
    for one in (bundle, bundle.baseline):
        assert one.manifest.target.session == chosen
        assert one.manifest.provenance["session"] == {"tried": 3}
        with open_runner(one) as runner:
            assert runner.spec.settings["spinning"] is False
            assert runner.spec.settings["intra_op_threads"] == 1


def test_scores_that_fp16_cannot_hold_are_refused(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint()
    checkpoint.state["classifier.weight"] *= 1e8
    with pytest.raises(ExportError, match="fp16 that are not finite"):
        export_bundle(checkpoint, target(precision="fp16"), tmp_path / "bundle", images=IMAGES)
