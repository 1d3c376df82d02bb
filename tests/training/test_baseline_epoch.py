"""Epoch 0: the baseline's mIoU is stored once, and a run far below it stops."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from streets import Streets

from artoolkit.errors import ArtoolkitError, TrainingError
from artoolkit.networks.checkpoint import Checkpoint, read_checkpoint
from artoolkit.training.epochs import BASELINE_MIOU, FELL, Run
from artoolkit.training.processes import Machine
from artoolkit.training.rate_range import HIGHEST, LOWEST, RateRange, find_rate
from artoolkit.training.recipe import Recipe, load_recipe
from artoolkit.training.run import resume, start
from artoolkit.training.watcher import Silent

Make = Callable[..., Recipe]


class Rows(Silent):
    def __init__(self) -> None:
        self.rows: list[dict] = []

    def evaluated(self, row: dict) -> None:
        self.rows.append(row)


@pytest.fixture(scope="module")
def baseline(tiny: Make, streets: Streets, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    out = tmp_path_factory.mktemp("runs") / "base"
    return read_checkpoint(start(tiny({"schedule.epochs": 1}), streets, out).model)


def epochs(out: Path) -> list[dict]:
    lines = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
    return [row for row in lines if row["kind"] == "epoch"]


def test_the_baseline_is_evaluated_before_any_step(
    tiny: Make, streets: Streets, baseline: Checkpoint, tmp_path: Path
) -> None:
    watcher = Rows()
    done = start(tiny({"schedule.epochs": 1}), streets, tmp_path / "a", baseline=baseline,
                 watcher=watcher)  # fmt: skip
    assert [row["epoch"] for row in watcher.rows] == [0, 1]
    first, _ = epochs(tmp_path / "a")
    assert (first["epoch"], first["iteration"]) == (0, 0)
    # What the baseline's own run said of it at its end, on the same images.
    assert first["mIoU"] == pytest.approx(baseline.meta.provenance["mIoU"])
    provenance = read_checkpoint(done.model).meta.provenance
    assert provenance[BASELINE_MIOU] == first["mIoU"]


def test_a_run_from_scratch_has_no_epoch_0(tiny: Make, streets: Streets, tmp_path: Path) -> None:
    start(tiny({"schedule.epochs": 1}), streets, tmp_path / "a")
    assert [row["epoch"] for row in epochs(tmp_path / "a")] == [1]


def test_a_size_that_evaluation_cannot_take_is_found_before_a_step(
    tiny: Make, streets: Streets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Crops of 32 x 64 would do; images of 40 x 56 are refused by the network."""
    monkeypatch.setenv("ARTOOLKIT_TRUSTED_NETWORKS", "published_forms:MultiplesOf32")
    recipe = tiny({"network": {"name": "published_forms:MultiplesOf32"},
                   "augmentation.crop": [32, 64]})  # fmt: skip
    with pytest.raises(ArtoolkitError, match="40"):
        start(recipe, streets, tmp_path / "a")
    assert "iteration" not in (tmp_path / "a" / "metrics.jsonl").read_text()


def test_resume_does_not_evaluate_the_baseline_again(
    tiny: Make,
    streets: Streets,
    baseline: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Run, "_steps", lambda self, *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            start(tiny(), streets, tmp_path / "a", baseline=baseline)
    assert [row["epoch"] for row in epochs(tmp_path / "a")] == [0]
    resume(tmp_path / "a", streets)
    assert [row["epoch"] for row in epochs(tmp_path / "a")] == [0, 1, 2]


@pytest.fixture
def falling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluations say 60 at first and 30 from then on."""
    said = iter([60.0])
    monkeypatch.setattr(Run, "_measured", lambda self, *_: {"mIoU": next(said, 30.0), "aAcc": 0.0})


@pytest.mark.usefixtures("falling")
def test_a_run_that_falls_far_below_its_baseline_stops_once(
    tiny: Make, streets: Streets, baseline: Checkpoint, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match=r"fell from the baseline's 60\.00 to 30\.00 % in epo"):
        start(tiny(), streets, tmp_path / "a", baseline=baseline)
    assert resume(tmp_path / "a", streets).finished
    assert [row["epoch"] for row in epochs(tmp_path / "a")] == [0, 1, 2]
    model = read_checkpoint(tmp_path / "a" / "model.safetensors")
    assert model.meta.provenance[FELL] == 1


@pytest.mark.usefixtures("falling")
@pytest.mark.parametrize("bound", [30, 100])
def test_the_bound_is_the_recipes(
    tiny: Make, streets: Streets, baseline: Checkpoint, tmp_path: Path, bound: float
) -> None:
    recipe = tiny({"schedule.epochs": 1, "evaluation.max_drop": bound})
    assert start(recipe, streets, tmp_path / "a", baseline=baseline).finished


def test_a_range_test_ends_where_the_loss_explodes_and_writes_nothing(
    tiny: Make, streets: Streets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = find_rate(tiny(), streets, machine=Machine(), steps=8)
    assert found.rates[0] == LOWEST
    assert list(found.rates) == sorted(found.rates)
    assert found.rates[-1] <= HIGHEST * 1.0001
    assert len(found.losses) == len(found.rates) > 1
    assert not list(tmp_path.iterdir())


def test_the_suggestion_is_a_tenth_of_the_rate_of_the_lowest_loss() -> None:
    assert RateRange((0.01, 0.1, 1.0), (2.0, 1.0, 8.0)).suggested == pytest.approx(0.01)


def test_the_recipe_of_other_networks_is_adamw_at_a_low_rate() -> None:
    recipe = load_recipe("other-network")
    assert (recipe.optimizer.algorithm, recipe.optimizer.decay_norms) == ("adamw", False)
    assert recipe.optimizer.lr < 1e-4 < recipe.schedule.warmup_iterations
    assert recipe.optimizer.encoder_multiplier == recipe.optimizer.decoder_multiplier == 1
