"""Every file that predicts, opened the same way, and what cannot be opened so."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from streets import SIZE, TABLE, Streets
from tiny import HEIGHT, LABELS, WIDTH, tiny_bundle

from artoolkit.cost.opening import subject_of
from artoolkit.deploy.export import export_bundle
from artoolkit.errors import (
    ArtoolkitError,
    BackendError,
    BundleError,
    CheckpointError,
    ExportError,
    UsageError,
)
from artoolkit.evaluation.opening import open_predictor, predict
from artoolkit.evaluation.quality import evaluate
from artoolkit.evaluation.views import Views
from artoolkit.evidence.bundle import Bundle
from artoolkit.networks import build
from artoolkit.networks.checkpoint import Checkpoint, CheckpointMeta, write_checkpoint
from artoolkit.targets import find_target

STREETS = Streets()
IMAGES = [STREETS.read_image(sample) for sample in STREETS.samples("val")]


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    torch.manual_seed(0)
    network = build("icnet", num_classes=3, width=0.125)
    # As built it gives every class nearly the same score.
    torch.nn.init.normal_(network.get_parameter("classifier.weight"))
    return Checkpoint(CheckpointMeta.of(network, TABLE), network.state_dict())


@pytest.fixture(scope="module")
def path(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "model.safetensors"
    write_checkpoint(path, checkpoint)
    return path


@pytest.fixture(scope="module")
def bundle(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    target = find_target("cpu", imgsz=SIZE, threads=1)
    return export_bundle(
        checkpoint, target, tmp_path_factory.mktemp("export") / "bundle", images=IMAGES
    )


def test_a_checkpoint_and_its_graph_give_the_same_labels(
    checkpoint: Checkpoint, path: Path, bundle: Bundle, tmp_path: Path
) -> None:
    alone = tmp_path / "alone.onnx"
    alone.write_bytes(bundle.model.read_bytes())
    expected = list(predict(checkpoint, IMAGES))
    assert len(np.unique(expected)) > 1
    for model in (path, str(path), bundle, bundle.path, bundle.model, alone):
        with open_predictor(model) as predictor:
            assert predictor.labels == TABLE
        for ours, theirs in zip(predict(model, IMAGES), expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_golden_labels_are_those_of_the_predictor(checkpoint: Checkpoint, bundle: Bundle) -> None:
    golden = bundle.golden()
    for labels, ours in zip(golden["labels"], predict(checkpoint, golden["images"]), strict=True):
        np.testing.assert_array_equal(labels, ours)


@pytest.mark.parametrize("views", [Views(flip=True), Views(window=SIZE, scales=(1.0, 1.5))])
def test_a_graph_looks_as_its_checkpoint_does(
    checkpoint: Checkpoint, bundle: Bundle, views: Views
) -> None:
    with open_predictor(bundle, views=views) as predictor:
        assert predictor.settings["window"] == asdict(views)["window"]
        expected = predict(checkpoint, IMAGES, views=views)
        for ours, theirs in zip(predictor(IMAGES), expected, strict=True):
            assert (ours == theirs).mean() > 0.999


def test_one_window_sees_what_the_whole_image_shows(checkpoint: Checkpoint, bundle: Bundle) -> None:
    """The network aligns the corners of its scores, and so must every view."""
    assert checkpoint.network().align_corners
    expected = list(predict(checkpoint, IMAGES))
    for model in (checkpoint, bundle):
        found = predict(model, IMAGES, views=Views(window=SIZE))
        for ours, theirs in zip(found, expected, strict=True):
            assert (ours == theirs).mean() > 0.999


def test_a_published_size_is_kept_and_another_may_be_asked_for(checkpoint: Checkpoint) -> None:
    made_for = checkpoint.meta.model_copy(update={"provenance": {"imgsz": [64, 96]}})
    published = Checkpoint(made_for, checkpoint.state)
    sizes = []
    recipe = {"evaluation": {"imgsz": [96, 128]}}
    recorded = checkpoint.meta.model_copy(update={"recipe": recipe})
    trained = Checkpoint(recorded, checkpoint.state)
    for model, imgsz in (
        (checkpoint, None),
        (published, None),
        (published, (32, 64)),
        (trained, None),
    ):
        with open_predictor(model, imgsz=imgsz) as predictor:
            sizes.append(predictor.input_hw)
    assert sizes == [None, (64, 96), (32, 64), (96, 128)]


def test_what_a_graph_cannot_see_is_refused(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "bundle")
    for how in (
        {"imgsz": (HEIGHT, WIDTH + 1)},
        {"views": Views(scales=(1.0, 2.0))},
        {"views": Views(window=(HEIGHT, HEIGHT))},
        {"backend": "torch"},
    ):
        with pytest.raises(UsageError):
            open_predictor(bundle, **how)  # type: ignore[arg-type]
    with open_predictor(bundle, imgsz=(HEIGHT, WIDTH)) as predictor:
        assert predictor.labels == LABELS


@pytest.mark.parametrize("name", ["bundle/engines/lost.plan", "lost.plan"])
def test_an_engine_is_opened_by_its_own_library(name: str, tmp_path: Path) -> None:
    """Without one, or without a GPU, the reason is one line."""
    tiny_bundle(tmp_path / "bundle")
    engine = tmp_path / name
    engine.parent.mkdir(exist_ok=True)
    engine.write_bytes(b"no engine")
    with pytest.raises(ArtoolkitError) as refused:
        open_predictor(engine)
    assert refused.value.exit_code in (2, 8, 12, 13)


def test_what_is_no_model_is_named(path: Path, tmp_path: Path) -> None:
    cases: dict[str, tuple[bytes, type[ArtoolkitError]]] = {
        "weights.safetensors": (b"no weights", CheckpointError),
        "graph.onnx": (b"no graph", BackendError),
    }
    for name, (content, error) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(error):
            open_predictor(tmp_path / name)
    with pytest.raises(BundleError):
        open_predictor(tmp_path / "nothing")
    with pytest.raises(UsageError):
        open_predictor(path, backend="onnxruntime")


def test_a_graph_of_others_does_not_say_its_classes(tmp_path: Path) -> None:
    model = tiny_bundle(tmp_path / "bundle").model
    foreign = tmp_path / "foreign.onnx"
    onnx.save(onnx.load(model), foreign)
    with pytest.raises(ExportError):
        open_predictor(foreign)


def test_progress_is_the_share_of_a_known_number(checkpoint: Checkpoint) -> None:
    heard: list[float] = []
    list(predict(checkpoint, IMAGES, progress=lambda what, share: heard.append(share)))
    assert heard == [0.5, 1.0]
    list(predict(checkpoint, iter(IMAGES), progress=lambda what, share: heard.append(share)))
    assert heard == [0.5, 1.0]


def test_a_measurement_says_what_was_measured_and_how(path: Path, bundle: Bundle) -> None:
    heard: list[float] = []
    record = evaluate(path, STREETS, progress=lambda what, share: heard.append(share))
    assert record.subject == subject_of(path)
    assert (record.subject.name, heard) == (path.name, [0.5, 1.0])
    assert record.predictor["backend"] == "torch"
    graph = evaluate(bundle.path, STREETS)
    assert graph.subject.sha256 == bundle.manifest.sha256
    assert graph.predictor["backend"] == "onnxruntime"
    np.testing.assert_array_equal(graph.matrices(), record.matrices())
