"""What published networks do: learned, exported, verified and compared, or refused in a line.

The files of `published_forms.py` stand for them; every one is code that nobody edited.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from deploy.tiny_network import seeded_images, target
from judged import QUICK, without_rtx

from artoolkit.backends.onnxruntime.runner import open_onnxruntime
from artoolkit.checks.compare import judged
from artoolkit.checks.contest import Pair
from artoolkit.checks.verify import verify
from artoolkit.deploy.export import export_bundle
from artoolkit.deploy.graph import LabelsAndScores, deployed_module
from artoolkit.deploy.onnx import graph_from_checkpoint, onnx_from_checkpoint
from artoolkit.deploy.untrained import numbered_classes, untrained_checkpoint
from artoolkit.errors import ArtoolkitError, ExportError, RecipeError, UsageError
from artoolkit.losses.objective import Objective, WeightedTerm
from artoolkit.losses.terms import AFFINITY, CROSS_ENTROPY
from artoolkit.networks import build
from artoolkit.networks.checkpoint import Checkpoint
from artoolkit.networks.factory import TRUSTED_VARIABLE
from artoolkit.networks.importing import checkpoint_from_published
from artoolkit.training.optimizer import build_optimizer
from artoolkit.training.recipe import Optimizer

CLASSES, SIZE = 3, (64, 96)
NAMES = {
    "void": ("OneMore", {"void_outputs": [CLASSES]}),
    "logits": ("Logits", {}),
    "nested": ("Nested", {}),
    "second": ("MainSecond", {"main": 1, "training_only": ["aux.", "edge."]}),
    "config": ("Configured", {"namespace": "cfg", "arguments": {"model": {"width": 9}}}),
    "affine": ("Affine", {}),
    "tokens": ("Tokens", {}),
    "unpooled": ("Unpooled", {}),
    "split": ("Split", {}),
    "bins": ("Pooled", {}),
    "everything": ("Everything", {}),
    "sizes": ("MultiplesOf32", {}),
    "fixed": ("Fixed", {"only_hw": [64, 128]}),
    "attributes": ("Attributes", {}),
    "operators": ("Operators", {}),
}  # fmt: skip


@pytest.fixture(autouse=True)
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("published_forms:" + name for name, _ in NAMES.values())
    monkeypatch.setenv(TRUSTED_VARIABLE, ",".join(names))


def untrained(name: str, **options: Any) -> Checkpoint:
    return untrained_checkpoint(f"published_forms:{name}", CLASSES, options=options)


def two_steps(checkpoint: Checkpoint, size_hw: tuple[int, int]) -> Checkpoint:
    """The checkpoint after two steps with the AR loss beside the cross-entropy."""
    network = checkpoint.network().train()
    terms = {name: WeightedTerm(kind=name) for name in (CROSS_ENTROPY, AFFINITY)}
    objective = Objective(terms, align_corners=network.align_corners)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    images = torch.rand(2, 3, *size_hw)
    labels = torch.randint(0, CLASSES, (2, *size_hw))
    for _ in range(2):
        loss = objective.total(objective(network(images), labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert torch.isfinite(loss)
    state = {key: value.detach().clone() for key, value in network.state_dict().items()}
    return Checkpoint(checkpoint.meta, state)


@pytest.mark.parametrize("form", NAMES)
def test_a_published_form_learns(form: str) -> None:
    name, options = NAMES[form]
    before = untrained(name, **options)
    after = two_steps(before, tuple(options.get("only_hw", SIZE)))
    assert any(not torch.equal(before.state[key], after.state[key]) for key in before.state)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["void", "fixed", "everything", "operators"])
def test_a_published_form_goes_all_the_way(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The forms of outputs differ in nothing that reaches the graph but the channels of void."""
    name, options = NAMES[form]
    size = tuple(options.get("only_hw", SIZE))
    before = untrained(name, **options)
    bundle = export_bundle(
        two_steps(before, size), target(imgsz=size), tmp_path / "bundle",
        images=list(seeded_images(1, size)), baseline=before,
    )  # fmt: skip
    assert bundle.baseline is not None
    assert verify(bundle).exit_code == 0
    without_rtx(monkeypatch)
    pair = Pair.of(bundle.baseline, bundle, plan=QUICK, process_memory=False)
    results = {check.name: check.result for check in judged(pair)[0].checks}
    required = ("graph", "training-only parts", "program", "memory", "outputs")
    assert {name: results[name] for name in required} == dict.fromkeys(required, "PASS")
    nodes = [node.name for node in onnx.load(str(bundle.model)).graph.node if node.name]
    assert len(nodes) == len(set(nodes))


def test_adaptive_pools_are_exported_exactly(tmp_path: Path) -> None:
    """On a map of 16 x 24; without a gather, which no engine likes."""
    checkpoint, device, images = untrained("Pooled"), target(imgsz=SIZE), seeded_images(1, SIZE)
    info = onnx_from_checkpoint(checkpoint, device, tmp_path / "model.onnx")
    pools = {"MatMul": 4, "AveragePool": 2, "ReduceMean": 1, "ReduceMax": 10, "MaxPool": 1}
    assert {name: info.census.get(name) for name in pools} == pools
    assert not [name for name in info.census if name.startswith("Gather")]
    assert_same_scores(checkpoint, info.path, images)


def assert_same_scores(checkpoint: Checkpoint, model: Path, images: np.ndarray) -> None:
    with open_onnxruntime(model, outputs=("labels", "scores"), threads=1) as runner:
        found = runner.infer(images)
    device = target(imgsz=SIZE)
    deployed = deployed_module(checkpoint.network(), checkpoint.meta.preprocess, device)
    with torch.inference_mode():
        _, scores = LabelsAndScores(deployed)(torch.from_numpy(images))
    np.testing.assert_allclose(found["scores"], scores.numpy(), rtol=1e-4, atol=1e-4)


def test_parameters_of_two_nodes_are_folded_into_neither(tmp_path: Path) -> None:
    checkpoint, images = two_steps(untrained("Shared"), SIZE), seeded_images(1, SIZE)
    info = onnx_from_checkpoint(checkpoint, target(imgsz=SIZE), tmp_path / "model.onnx")
    assert_same_scores(checkpoint, info.path, images)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("MainSecond", {}, "2 outputs of the network have 3 channels"),
        ("OneMore", {"arguments": {"classes": 4}}, r"void_outputs=\[3\]"),
        ("Fixed", {}, r"only_hw=\[H,W\]"),
        ("Configured", {}, "namespace=cfg"),
        ("Configured", {"namespace": "cfg"}, "KeyError: 'model'"),
        ("Forgotten", {}, r"never reach its scores; got 2,929 of .*: other.weight.*training_only"),
        ("LastAxis", {}, "got 64; expected 3. The last axis is of classes"),
        ("Labels", {}, "got 1; expected 3. Is another output the scores: --option main=KEY"),
        ("Larger", {}, "more scores than pixels; got scores of 512 x 640"),
        ("WithTarget", {}, r"missing 1 required .*: 'target'\..* give a factory that wraps it"),
        ("Restless", {}, "other scores each time"),
        ("OneMore", {"arguments": {"classes": 5}}, r"void_outputs=\[3, 4\]; the first: \[0\]"),
        ("OneMore", {"arguments": {"classes": 5}, "void_outputs": [3]}, '"num_classes": 3'),
        ("made_already", {}, "made already; expected a class, or a function that makes one"),
        ("leaves", {}, "cannot be made: SystemExit: no licence"),
    ],
)
def test_a_form_that_needs_a_word_says_which(
    name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        untrained(name, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Probabilities", "returns probabilities in training; expected scores before the softmax"),
        ("Stirred", "fails on images of 2 x 3 x 64 x 96 in training: AttributeError: no teacher"),
    ],
)
def test_what_fails_in_training_alone_is_one_line(name: str, message: str) -> None:
    network = build(f"published_forms:{name}", num_classes=CLASSES)
    network.eval()(torch.rand(2, 3, *SIZE))
    with pytest.raises(UsageError, match=message):
        network.train()(torch.rand(2, 3, *SIZE))


def test_buffers_of_the_size_of_an_image_are_no_weights(tmp_path: Path) -> None:
    checkpoint = two_steps(untrained("Positions"), SIZE)
    assert sorted(checkpoint.state) == [
        "module.head.bias", "module.head.weight", "module.trunk.bias", "module.trunk.weight"
    ]  # fmt: skip
    assert checkpoint.network()(torch.rand(1, 3, 128, 32)).shape == (1, CLASSES, 32, 8)
    onnx_from_checkpoint(checkpoint, target(imgsz=SIZE), tmp_path / "model.onnx")


def test_a_network_without_parameters_is_evaluated_and_not_trained() -> None:
    network = build("published_forms:Constant", num_classes=CLASSES)
    assert network(torch.rand(2, 3, *SIZE))["main"].shape[1] == CLASSES
    with pytest.raises(RecipeError, match="nothing of published_forms:Constant would be trained"):
        build_optimizer(network, Optimizer(algorithm="adamw", lr=1.0))


def test_main_of_training_is_asked_for_and_taken() -> None:
    with pytest.raises(UsageError, match="2 outputs of the network have 3 channels"):
        build("published_forms:MoreInTraining", num_classes=CLASSES)(torch.rand(2, 3, *SIZE))
    network = build("published_forms:MoreInTraining", num_classes=CLASSES, main=1)
    images = torch.rand(2, 3, *SIZE)
    feature = network.module.stem(images)
    assert torch.equal(network(images)["main"], network.module.main(feature))
    assert torch.equal(network.eval()(images), network.module.main(feature))


def test_code_that_does_not_import_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_code.py").write_text("raise RuntimeError('operator a::b does not exist')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UsageError, match=r"broken_code cannot be imported \(RuntimeError: oper"):
        build("broken_code:Net", num_classes=CLASSES)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("Branching", r"cannot be exported: module \(published_forms.py, line"),
        ("Foreign", r"cannot be exported: module\.body\.1 \(publ"),
        ("Masked", "depends on the values in an image.*; got NonZero, .*torch.where"),
    ],
)
def test_what_no_graph_can_hold_is_named(
    name: str, place: str, capfd: pytest.CaptureFixture[str]
) -> None:
    checkpoint = untrained(name)
    with pytest.raises(ExportError, match=place) as caught:
        graph_from_checkpoint(checkpoint, target(imgsz=SIZE))
    assert "section Exports" in (caught.value.hint or "")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_file_that_does_not_open_is_never_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint, device = untrained("Plain"), target(imgsz=SIZE)
    model, trained = graph_from_checkpoint(checkpoint, device)
    model.graph.node[-1].name = model.graph.node[0].name = "twice"
    monkeypatch.setattr(
        "artoolkit.deploy.export.graph_from_checkpoint", lambda *args: (model, trained)
    )
    with pytest.raises(ArtoolkitError, match="does not run"):
        export_bundle(checkpoint, device, tmp_path / "out", images=list(seeded_images(1, SIZE)))
    assert not list(tmp_path.iterdir())


def test_parameters_outside_the_graph_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name = "published_forms:Forgotten"
    options = {"arguments": {"width": 1}}
    network = build(name, num_classes=CLASSES, **options)
    weights = tmp_path / "weights.pth"
    torch.save(network.module.state_dict(), weights)
    with caplog.at_level(logging.INFO):
        checkpoint = checkpoint_from_published(
            weights, network=name, num_classes=CLASSES, labels=numbered_classes(CLASSES),
            options=options,
        )  # fmt: skip
    keys = ["other.weight", "other.bias", "last.weight", "last.bias"]
    assert checkpoint.meta.provenance["unreached"] == keys
    assert "never in the deployed graph: other.weight" in caplog.text
