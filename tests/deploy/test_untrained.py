"""Untrained checkpoints: repeatable, settled, and no trace in the random state."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from artoolkit import export, verify
from artoolkit.data.street.scene import street_scene
from artoolkit.deploy.graph import Deployed
from artoolkit.deploy.untrained import numbered_classes, untrained_checkpoint
from artoolkit.errors import UsageError
from artoolkit.spec import Margins
from artoolkit.targets import find_target, list_targets


def test_a_seed_gives_the_same_weights_and_leaves_the_callers_random_state() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, two = (untrained_checkpoint("tiny", 5, seed=3) for _ in range(2))
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(one.state[key], two.state[key]) for key in one.state)
    other = untrained_checkpoint("tiny", 5, seed=4)
    assert not torch.equal(one.state["stem.weight"], other.state["stem.weight"])


@pytest.mark.parametrize("network", ["icnet", "refinenet_lw_mbv2", "fast_scnn"])
def test_other_precisions_give_the_same_labels(network: str) -> None:
    size_hw = (128, 256)
    checkpoint = untrained_checkpoint(network, 19, imgsz=size_hw)
    assert checkpoint.meta.provenance == {"untrained": True, "seed": 0}
    # Not one of the streets that it was settled on.
    images = torch.from_numpy(street_scene(2, size_hw)[0])[None]
    exact = Deployed(checkpoint.network(), checkpoint.meta.preprocess).eval()
    half = Deployed(checkpoint.network(), checkpoint.meta.preprocess, half=True).eval()
    with torch.inference_mode():
        labels, scores = exact.labels_and_scores(images)
        halved, _ = half.labels_and_scores(images)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded, _ = exact.labels_and_scores(images)
    assert 1 < scores.abs().max() < 1000
    assert labels.unique().numel() > 1
    margins = Margins().label_agreement
    assert (halved == labels).float().mean() >= margins["fp16"]
    assert (rounded == labels).float().mean() >= margins["bf16"]


def test_classes_are_numbered_and_told_apart() -> None:
    table = numbered_classes(19)
    assert table.names[:2] == ("class_0", "class_1")
    assert len(set(table.colors)) == 19


def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown network"):
        untrained_checkpoint("nonesuch", 5)


def kinds_of_targets() -> dict[tuple[str, bool], str]:
    """One target for each precision, on OpenVINO and elsewhere."""
    targets = map(find_target, list_targets())
    return {(p, t.backend == "openvino"): t.name for t in targets for p in t.precisions}


@pytest.mark.parametrize(("precision", "openvino"), kinds_of_targets())
def test_every_kind_of_target_verifies(precision: str, openvino: bool, tmp_path: Path) -> None:
    name = kinds_of_targets()[precision, openvino]
    if openvino:
        pytest.importorskip("openvino")
    network = untrained_checkpoint("tiny", 5, imgsz=(64, 128))
    made = export(
        network, out=tmp_path / "b", target=name, imgsz=(64, 128), precision=precision, golden=2
    )
    found = verify(made.bundle, backend="openvino" if openvino else "onnxruntime", device="cpu")
    assert found.result == "PASS", [check.headline for check in found.checks]
