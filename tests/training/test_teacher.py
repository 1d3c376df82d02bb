"""A run with a teacher: what it learns, how it goes on, and that nothing of it stays."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from streets import Streets

from artoolkit.deploy.onnx import graph_from_checkpoint
from artoolkit.errors import CheckpointError, RecipeError, UsageError
from artoolkit.networks.checkpoint import Checkpoint, read_checkpoint
from artoolkit.spec import Target
from artoolkit.training.assembly import build_network, checkpoint_of
from artoolkit.training.finetune import finetune
from artoolkit.training.recipe import Recipe
from artoolkit.training.run import resume, start
from artoolkit.training.teacher import Teacher, load_teacher
from artoolkit.training.watcher import Silent

Make = Callable[..., Recipe]
MODEL = "model.safetensors"
TAUGHT = {
    "loss.terms.distillation": {"weight": 1.0, "options": {"temperature": 2.0}},
    "loss.terms.affinity_distillation": {"weight": 5.0},
}


class StopsAfter(Silent):
    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def stepped(self, row: dict) -> None:
        if row["iteration"] == self.iteration:
            signal.raise_signal(signal.SIGINT)


@pytest.fixture(scope="module")
def base(tiny: Make, streets: Streets, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    out = tmp_path_factory.mktemp("base")
    start(tiny(), streets, out)
    return read_checkpoint(out / MODEL)


@pytest.fixture(scope="module")
def teachers(tiny: Make, streets: Streets) -> list[Checkpoint]:
    """Two networks of other widths than the student's, from scratch."""
    made = []
    for width, seed in ((0.25, 7), (0.125, 8)):
        recipe = tiny({"network.options": {"width": width}})
        network = build_network(recipe, streets.labels, seed=seed)
        made.append(checkpoint_of(network, recipe, streets.labels, {}))
    return made


@pytest.fixture(scope="module")
def taught(
    base: Checkpoint, teachers: list[Checkpoint], tiny: Make, streets: Streets,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:  # fmt: skip
    out = tmp_path_factory.mktemp("taught")
    start(tiny(TAUGHT), streets, out, baseline=base, teachers=teachers)
    return out


def test_a_stopped_run_ends_with_the_same_bits(
    taught: Path, base: Checkpoint, teachers: list[Checkpoint], tiny: Make, streets: Streets,
    tmp_path: Path,
) -> None:  # fmt: skip
    start(tiny(TAUGHT), streets, tmp_path, baseline=base, teachers=teachers, watcher=StopsAfter(4))
    with pytest.raises(UsageError, match="the run has other teachers; got none"):
        resume(tmp_path, streets)
    assert resume(tmp_path, streets, teachers=teachers).finished
    assert (tmp_path / MODEL).read_bytes() == (taught / MODEL).read_bytes()


@pytest.mark.slow
def test_the_graph_is_the_baselines_byte_for_byte(taught: Path, base: Checkpoint) -> None:
    """Trained weights aside; so no operator, name, constant or attribute can be the teacher's."""
    target = Target(name="tiny", imgsz=(32, 64), batch=1, backend="onnxruntime")
    tuned = read_checkpoint(taught / MODEL)
    assert [n["network"] for n in tuned.meta.provenance["teachers"]] == ["icnet", "icnet"]
    graphs = []
    for checkpoint in (base, tuned):
        model, trained = graph_from_checkpoint(checkpoint, target)
        for tensor in model.graph.initializer:
            if tensor.name in trained:
                tensor.ClearField("raw_data")
        del model.metadata_props[:]
        graphs.append(model.SerializeToString(deterministic=True))
    assert len(onnx.load_model_from_string(graphs[0]).graph.node) > 10
    assert graphs[0] == graphs[1]
    assert {k: v.shape for k, v in tuned.state.items()} == {
        k: v.shape for k, v in base.state.items()
    }


def test_several_teachers_are_their_mean_probability(
    teachers: list[Checkpoint], tiny: Make
) -> None:
    images = torch.randint(0, 256, (2, 32, 48, 3), dtype=torch.uint8)
    one, other, both = (
        Teacher(some, tiny())(images).scores for some in (teachers[:1], teachers[1:], teachers)
    )
    assert not both.requires_grad
    mean = (one.softmax(1) + other.softmax(1)) / 2
    torch.testing.assert_close(both.softmax(1), mean)


def test_what_does_not_fit_is_one_line(
    base: Checkpoint, teachers: list[Checkpoint], tiny: Make, streets: Streets, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(UsageError, match="belong together; got no teacher for distillation or"):
        start(tiny(TAUGHT), streets, out, baseline=base)
    with pytest.raises(UsageError, match="belong together; got a teacher alone"):
        start(tiny(), streets, out, baseline=base, teachers=teachers)
    others = streets.labels.model_copy(update={"names": ("x", "y", "z")})
    with pytest.raises(CheckpointError, match="was trained for other classes"):
        load_teacher(base, others)
    with pytest.raises(RecipeError, match="too small for the teacher"):
        Teacher(teachers, tiny({"augmentation.crop": [16, 16]}))
    assert not out.exists()


def test_finetune_takes_distillation_by_default_and_its_control_no_teacher(
    base: Checkpoint, teachers: list[Checkpoint], streets: Streets, tmp_path: Path
) -> None:
    short = {"schedule.epochs": 1}
    tuned = finetune(
        base, out=tmp_path / "tuned", dataset=streets, teachers=teachers[:1], changes=short
    )
    recipe = read_checkpoint(tuned.model).meta.recipe
    assert recipe["loss"]["terms"]["distillation"]["weight"] == 1
    control = finetune(
        base, out=tmp_path / "control", dataset=streets, teachers=teachers[:1], control=True,
        changes={**short, "loss.terms.affinity_distillation.weight": 5.0},
    )  # fmt: skip
    meta = read_checkpoint(control.model).meta
    assert meta.recipe["loss"]["terms"]["affinity_distillation"]["weight"] == 0
    assert "teachers" not in meta.provenance
