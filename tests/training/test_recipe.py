from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from artoolkit.errors import RecipeError
from artoolkit.training.recipe import (
    differences,
    load_recipe,
    recipe_from_values,
    recipe_names,
    toml_from_recipe,
)

RECIPES = Path(__file__).parents[2] / "artoolkit" / "training" / "recipes"


def test_the_recipes_of_the_paper_and_of_the_quickstart_are_there() -> None:
    assert {
        "camvid",
        "camvid-finetune",
        "cityscapes-icnet",
        "cityscapes-refinenet-lw50",
        "nyuv2-refinenet-lw50",
        "nyuv2-refinenet-lw152",
        "nyuv2-pspnet101",
        "quickstart",
    } <= set(recipe_names())


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_valid_under_its_own_name_and_survives_toml(
    name: str, tmp_path: Path
) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    path = tmp_path / "recipe.toml"
    path.write_text(toml_from_recipe(recipe), encoding="utf-8")
    assert load_recipe(str(path)) == recipe


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_says_where_its_values_come_from(name: str) -> None:
    text = (RECIPES / f"{name}.toml").read_text(encoding="utf-8")
    assert "Source" in text or "our own choice" in text


def test_odd_values_survive_toml(tmp_path: Path) -> None:
    recipe = load_recipe(
        "camvid",
        changes={
            "description": 'a "quoted" line\nand ünicode',
            "loss.aux_weights": {"aux.8": 0.5, "aux_16": 1e-7},
            "loss.ohem": {"threshold": 0.5},
            "network.options": {"width": 0.25},
        },
    )
    path = tmp_path / "recipe.toml"
    path.write_text(toml_from_recipe(recipe), encoding="utf-8")
    assert load_recipe(str(path)) == recipe


def test_assignments_are_toml_or_bare_words_and_win_over_changes() -> None:
    recipe = load_recipe(
        "camvid",
        assignments=["optimizer.lr=0.5", "schedule.policy=constant", "augmentation.scale=[1, 2]"],
        changes={"optimizer.lr": 0.25, "schedule.epochs": 7, "seed": None},
    )
    assert recipe.optimizer.lr == 0.5
    assert recipe.schedule.policy == "constant"
    assert recipe.augmentation.scale == (1.0, 2.0)
    assert recipe.schedule.epochs == 7
    assert recipe.seed == 1


def test_all_mistakes_are_reported_at_once() -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(
            "camvid",
            assignments=["optimizer.lr=-1", "schedul.epochs=3", "nothing", "seed.x=1"],
            changes={"augmentation.crop": [0, 32]},
        )
    line = str(caught.value)
    for part in (
        "optimizer.lr",
        "-1",
        "schedul",
        "'nothing' is not path=value",
        "augmentation.crop.0",
    ):
        assert part in line
    assert "seed is a value, not a table" in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("augmentation.scale", [2.0, 1.0], "must ascend"),
        ("schedule.milestones", [5, 3], "ascend"),
        ("schedule.policy", "steps", "belong together"),
        ("optimizer.momentum", 0, "nesterov needs a momentum"),
        ("loss.ar_weight", -0.1, "greater than or equal to 0"),
        ("loss.ar_stride", 4, "belongs to the grid 'all'"),
        ("loss.ar_grid", "corner", "'center', 'paper', 'jitter' or 'all'"),
        ("schedule.batch_size", 0, "greater than or equal to 1"),
    ],
)
def test_contradictions_are_named(path: str, value: object, message: str) -> None:
    with pytest.raises(RecipeError, match="recipe camvid is not valid") as caught:
        load_recipe("camvid", changes={path: value})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("optimizer.lr=abc", 'optimizer.lr: expected a number, got "abc"'),
        ("optimizer.lr=-1", "optimizer.lr: expected a value greater than 0, got -1"),
        ("optimizer=0.1", "optimizer: expected a table with values of its own, got 0.1"),
        ("lr=0.1", "lr is unknown: did you mean optimizer.lr?"),
        ("schedule.epochs=1.5", "schedule.epochs: expected a whole number, got 1.5"),
        ("augmentation.crop=12", "augmentation.crop: expected a list, got 12"),
        ("augmentation.crop=[1, 2, 3]", "augmentation.crop: expected at most 2 values"),
        ("optimizer.nesterov=maybe", "optimizer.nesterov: expected true or false"),
        ("execution.precision=fp8", "expected 'auto', 'fp32', 'bf16' or 'fp16', got \"fp8\""),
        ("name=''", 'name: expected some text, got ""'),
        ("loss.ohem=3", "loss.ohem: expected a table with values of its own"),
    ],
)
def test_a_wrong_value_is_told_in_our_words(assignment: str, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe("camvid", assignments=[assignment])
    assert said in str(caught.value)
    assert not re.search("Input|valid (dict|int|num|str)|Tuple", str(caught.value))


BAD_NUMBERS = {
    "seed": [-1, 0.5],
    "augmentation.crop": [[0, 32], [-8, 32], [math.inf, 32]],
    "augmentation.scale": [[1, math.inf], [0, 1], [-1, 1], [math.nan, 2]],
    "augmentation.rotate_degrees": [-1, 181, math.nan],
    "augmentation.flip": [-0.1, 1.1, math.nan],
    "augmentation.brightness": [-0.1, 1, math.nan],
    "augmentation.contrast": [-0.1, math.inf],
    "augmentation.saturation": [2],
    "augmentation.blur": [math.nan],
    "schedule.epochs": [0, math.inf],
    "schedule.batch_size": [-2],
    "schedule.power": [0, math.inf, math.nan],
    "schedule.milestones": [[0, 3], [-1]],
    "schedule.factor": [0, 1, math.nan],
    "schedule.warmup_iterations": [-1],
    "optimizer.lr": [0, -0.1, math.inf, math.nan],
    "optimizer.momentum": [1, math.nan],
    "optimizer.weight_decay": [-1e-4, math.inf],
    "optimizer.encoder_multiplier": [-1, math.inf],
    "optimizer.decoder_multiplier": [math.nan],
    "optimizer.ema_decay": [0, 1, math.nan],
    "loss.ar_weight": [-1, math.inf, math.nan],
    "loss.ar_sizes": [[], [0], [12, -6]],
    "loss.ar_stride": [0],
    "loss.aux_weights": [{"aux_8": -1}, {"aux_8": math.inf}],
    "loss.class_weights": [[], [0, 0], [1, -1], [1, math.nan], [math.inf, 1]],
    "loss.ohem": [{"threshold": 0}, {"threshold": math.nan}, {"min_kept": 0}],
    "loss.terms": [{"aux_8": {"weight": -1}}, {"aux_8": {"weight": math.nan}}],
    "evaluation.every": [0],
    "evaluation.imgsz": [[0, 64], [64, -1]],
}


@pytest.mark.parametrize(
    ("path", "value"), [(path, value) for path, values in BAD_NUMBERS.items() for value in values]
)
def test_no_number_is_beyond_its_bounds(path: str, value: object) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe("camvid", changes={path: value})
    assert path.split(".")[0] in str(caught.value)


def test_bad_numbers_are_all_named_at_once() -> None:
    one_each = {path: values[0] for path, values in BAD_NUMBERS.items()}
    with pytest.raises(RecipeError) as caught:
        load_recipe("camvid", changes=one_each)
    said = str(caught.value)
    assert not [path for path in one_each if path not in said]


def test_the_other_spelling_is_read_and_ours_is_written(tmp_path: Path) -> None:
    own = load_recipe("camvid")
    text = toml_from_recipe(own)
    assert "[optimizer]" in text
    old = tmp_path / "old.toml"
    old.write_text(text.replace("[optimizer]", "[optimiser]"), encoding="utf-8")
    assert load_recipe(str(old)) == own
    for there in ("optimiser", "optimizer"):
        old.write_text(text.replace("[optimizer]", f"[{there}]"), encoding="utf-8")
        for asked in ("optimiser", "optimizer"):
            found = load_recipe(str(old), assignments=[f"{asked}.lr=0.5"])
            assert found.optimizer.lr == 0.5
            assert found.optimizer.momentum == own.optimizer.momentum
    old.write_text(text + "[optimiser]\nlr = 1.0\n", encoding="utf-8")
    with pytest.raises(RecipeError, match="optimiser is unknown"):
        load_recipe(str(old))


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(RecipeError, match=r"got 'camvidd'.*Did you mean camvid"):
        load_recipe("camvidd")


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no recipe at"):
        load_recipe(str(tmp_path / "no.toml"))
    (tmp_path / "bad.toml").write_text("name = \n")
    with pytest.raises(RecipeError, match=r"bad\.toml cannot be read"):
        load_recipe(str(tmp_path / "bad.toml"))


def test_what_differs_is_said_with_both_values() -> None:
    stored = load_recipe("camvid", changes={"execution.precision": "fp32"})
    asked = load_recipe("camvid", changes={"schedule.epochs": 50})
    # The asked precision is auto, which asks for nothing.
    assert differences(stored, asked) == ["schedule.epochs 40 instead of 50"]
    assert differences(stored, stored) == []
    no_ohem = recipe_from_values(stored.model_dump(mode="json", exclude_none=True), "x")
    with_ohem = load_recipe("camvid", changes={"loss.ohem": {"threshold": 0.5}})
    assert "loss.ohem.threshold nothing instead of 0.5" in differences(no_ohem, with_ohem)
