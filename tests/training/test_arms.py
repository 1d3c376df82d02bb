"""Arms and runs of an experiment; a whole one is in tests/cli/test_experiment.py."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from artoolkit.errors import UsageError
from artoolkit.training.arms import Run, common_recipe, planned_runs
from artoolkit.training.display import ExperimentBar
from artoolkit.training.recipe import Recipe
from artoolkit.training.state import Progress

Make = Callable[..., Recipe]


def test_runs_go_seed_by_seed_and_the_control_first_and_once() -> None:
    runs = planned_runs(("all", "control", "all"), (5.0, 20.0, 5.0), (3, 4))
    assert [run.name for run in runs] == [
        "control-seed3", "all-5-seed3", "all-20-seed3",
        "control-seed4", "all-5-seed4", "all-20-seed4",
    ]  # fmt: skip


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan")])
def test_a_weight_is_above_zero(weight: float) -> None:
    with pytest.raises(UsageError, match=r"--ar-weight must be above 0.*is the arm control"):
        planned_runs(("all",), (weight,), (1,))


def test_arms_share_everything_but_the_loss(tiny: Make) -> None:
    own = tiny({"loss.ar_weight": 3.0, "loss.ar_grid": "all", "loss.ar_stride": 2,
                "loss.class_weights": [1.0, 2.0, 3.0]})  # fmt: skip
    common = common_recipe(own)
    assert (common.loss.ar_weight, common.evaluation.every) == (0.0, own.schedule.epochs)
    control = Run("control", 0.0, 7).recipe(common, stride=8)
    arms = [Run(arm, 5.0, 7).recipe(common, stride=8) for arm in ("paper", "all")]
    assert [arm.loss.ar_grid for arm in arms] == ["paper", "all"]
    assert [arm.loss.ar_stride for arm in arms] == [None, 8]
    assert control.loss.ar_stride is None
    for recipe in (control, *arms):
        assert recipe.seed == 7
        assert recipe.loss.class_weights == (1.0, 2.0, 3.0)
        same = {"name": common.name, "seed": common.seed, "loss": common.loss}
        assert recipe.model_copy(update=same) == common


def test_an_arm_of_ones_own_is_its_settings(tiny: Make) -> None:
    text = "both=ar-weight=20 ar-grid=all class-weights=median-frequency epochs=5 photometric=0.3"
    control, both = planned_runs(("control",), (5.0,), (7,), [text])
    assert (both.name, both.key) == ("both-seed7", ("both", 20.0, 7))
    common = common_recipe(tiny({"loss.terms.distillation.weight": 1.0}))
    assert not common.loss.terms
    recipe = both.recipe(common, stride=8)
    assert (recipe.loss.ar_weight, recipe.loss.ar_grid, recipe.loss.ar_stride) == (20, "all", None)
    assert (recipe.loss.class_weights, recipe.schedule.epochs) == ("median-frequency", 5)
    assert recipe.augmentation.saturation == recipe.augmentation.brightness == 0.3
    assert (recipe.data, recipe.seed) == (common.data, 7)
    assert control.recipe(common).loss == common.loss
    (taught,) = planned_runs((), (), (1,), ["t=distillation=2 temperature=3 optimizer.lr=0.001"])
    choice = taught.recipe(common).loss.terms["distillation"]
    assert (choice.weight, choice.options) == (2, {"temperature": 3})


@pytest.mark.parametrize(
    ("named", "message"),
    [
        (["all=ar-weight=20"], "no arm of one's own; got all=ar-weight=20"),
        (["../x=epochs=2"], "no arm of one's own"),
        (["x="], "no arm of one's own"),
        (["x=much=20"], "a setting that is none; got much=20; expected epochs, lr"),
        (["x=epochs"], "a setting that is none; got epochs"),
        (["x=data.cache=true"], r"share; got data\.cache"),
        (["x=schedule.batch_size=3"], r"share; got schedule\.batch_size"),
        (["x=ar-weight=big"], "is no number"),
        (["x=epochs=2", "x=epochs=3"], "one name to two arms"),
    ],
)
def test_what_is_no_arm_is_one_line(named: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        planned_runs(("control",), (5.0,), (1,), named)


def test_a_file_gets_a_line_a_run_and_a_terminal_the_bar(tiny: Make) -> None:
    for terminal in (False, True):
        text = io.StringIO()
        console = Console(file=text, force_terminal=terminal, width=160, color_system=None)
        run = Run("all", 5.0, 1)
        with ExperimentBar(console) as bar:
            bar.planned([run, run], 4, 2)
            bar.started(tiny({"name": "tiny-all"}), 3, Progress(1, 0, 0))
            bar.stepped({"iteration": 4, "loss": 0.5})
            bar.evaluated({})
            bar.judging(run, 1, 2)
            bar.finished(run, {"mIoU": 51.234, "boundary_mIoU": None, "step_s": 0.25})
        lines = text.getvalue()
        assert "2 runs of 2 epochs to do, 4 finished before" in lines
        assert "all-5-seed1: mIoU 51.23 %, 0.250 s a step" in lines
        assert ("tiny-all" in lines) == ("1/2" in lines) == terminal
