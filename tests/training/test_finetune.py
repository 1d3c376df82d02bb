from __future__ import annotations

from collections.abc import Callable

import pytest
from streets import TABLE

from artoolkit.errors import RecipeError, UsageError
from artoolkit.networks.checkpoint import Checkpoint, CheckpointMeta
from artoolkit.preprocess import Preprocess
from artoolkit.training.finetune import finetune_recipe
from artoolkit.training.recipe import Recipe, load_recipe


def baseline_of(recipe: Recipe | None) -> Checkpoint:
    stored = {} if recipe is None else recipe.model_dump(mode="json", exclude_none=True)
    meta = CheckpointMeta(
        network="icnet", num_classes=3, labels=TABLE, preprocess=Preprocess(), recipe=stored
    )
    return Checkpoint(meta, {})


def test_the_pilots_numbers_follow_from_the_camvid_recipe() -> None:
    tuned = finetune_recipe(baseline_of(load_recipe("camvid")), changes={"loss.ar_weight": 20.0})
    assert tuned.schedule.epochs == 8
    assert tuned.optimizer.lr == pytest.approx(0.01)
    assert tuned.name == "camvid-finetune"
    assert tuned.loss.ar_weight == 20
    stored = load_recipe("camvid")
    for part in ("network", "data", "augmentation", "execution", "seed"):
        assert getattr(tuned, part) == getattr(stored, part)
    # The committed recipe is the same, written out.
    written = load_recipe("camvid-finetune", changes={"description": tuned.description})
    assert written == tuned


def test_given_values_win() -> None:
    tuned = finetune_recipe(
        baseline_of(load_recipe("camvid")),
        changes={"schedule.epochs": 3, "optimizer.lr": None},
        assignments=["seed=9"],
    )
    assert (tuned.schedule.epochs, tuned.seed) == (3, 9)
    assert tuned.optimizer.lr == pytest.approx(0.01)


def test_steps_and_a_warm_up_give_way_to_poly(tiny: Callable[..., Recipe]) -> None:
    stored = tiny(
        {"schedule.policy": "steps", "schedule.milestones": [1], "schedule.warmup_iterations": 5}
    )
    tuned = finetune_recipe(baseline_of(stored))
    assert (tuned.schedule.policy, tuned.schedule.milestones) == ("poly", ())
    assert tuned.schedule.warmup_iterations == 0
    assert tuned.schedule.epochs == 1


def test_a_recipe_that_is_given_is_taken_as_it_stands() -> None:
    recipe = finetune_recipe(baseline_of(None), source="camvid-finetune")
    assert recipe == load_recipe("camvid-finetune")


def test_imported_weights_bring_their_network_into_a_recipe_that_is_given() -> None:
    meta = CheckpointMeta(
        network="icnet_r50", num_classes=3, layout="mmseg", options={"width": 0.25}, labels=TABLE,
        preprocess=Preprocess(), provenance={"imgsz": [65, 129]},
    )  # fmt: skip
    recipe = finetune_recipe(Checkpoint(meta, {}), source="camvid", changes={"seed": 4})
    assert recipe.network.model_dump() == {
        "name": "icnet_r50", "layout": "mmseg", "options": {"width": 0.25}
    }  # fmt: skip
    assert (recipe.seed, recipe.evaluation.imgsz) == (4, (65, 129))
    assigned = finetune_recipe(
        Checkpoint(meta, {}), source="camvid", assignments=["network.name=icnet"]
    )
    assert assigned.network.name == "icnet"


def test_imported_weights_need_a_recipe() -> None:
    with pytest.raises(UsageError, match=r"holds no recipe\. Give one with --recipe: camvid, "):
        finetune_recipe(baseline_of(None))


def test_mistakes_name_where_they_are() -> None:
    with pytest.raises(RecipeError, match=r"baseline for fine-tuning.*ar_weight"):
        finetune_recipe(baseline_of(load_recipe("camvid")), changes={"loss.ar_weight": -1})
