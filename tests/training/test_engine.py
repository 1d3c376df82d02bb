from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from streets import TABLE

from artoolkit.errors import TrainingError
from artoolkit.training.assembly import build_network
from artoolkit.training.engine import Learner, train_one_epoch
from artoolkit.training.recipe import Recipe
from artoolkit.training.terms import build_objective

Make = Callable[..., Recipe]
CPU = torch.device("cpu")


def learner(recipe: Recipe, *, iterations_per_epoch: int = 3) -> Learner:
    network = build_network(recipe, TABLE, seed=1)
    return Learner(network, build_objective(recipe, network), recipe, CPU, iterations_per_epoch)


def batch(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, (2, 4, 6)).repeat(8, 1).repeat(8, 2).astype(np.uint8)
    return torch.from_numpy(TABLE.colorize(labels)), torch.from_numpy(labels)


def test_a_step_reports_every_term_and_the_weighted_sum(tiny: Make) -> None:
    own = learner(tiny({"loss.ar_weight": 5.0}))
    own.network.train()
    row = own.step(*batch(), iteration=0)
    assert set(row) == {
        "loss", "cross_entropy", "aux_16", "aux_8", "affinity_regression", "lr"
    }  # fmt: skip
    expected = (
        row["cross_entropy"]
        + 0.16 * row["aux_16"]
        + 0.4 * row["aux_8"]
        + 5 * row["affinity_regression"]
    )
    assert row["loss"] == pytest.approx(expected, rel=1e-5)
    assert row["lr"] == pytest.approx(0.02)


def test_the_control_arm_has_no_term_of_the_loss_unless_it_is_monitored(tiny: Make) -> None:
    control, monitored = learner(tiny()), learner(tiny({"loss.ar_monitor": True}))
    for one in (control, monitored):
        one.network.train()
    plain, watched = (one.step(*batch(), iteration=0) for one in (control, monitored))
    assert "affinity_regression" not in plain
    assert watched.pop("affinity_regression") > 0
    assert plain == watched
    for key, value in control.network.state_dict().items():
        assert torch.equal(value, monitored.network.state_dict()[key]), key


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"execution.precision": "bf16"},
        {"execution.channels_last": False},
        {"loss.ar_weight": 1.0, "loss.ar_grid": "all"},
        {"loss.ohem": {"threshold": 0.9, "min_kept": 10}, "loss.class_weights": [1, 2, 3]},
    ],
    ids=["plain", "bf16", "contiguous", "all pairs", "ohem"],
)
def test_training_lowers_the_loss_of_what_it_is_shown(
    tiny: Make, changes: dict[str, object]
) -> None:
    own = learner(tiny({"optimizer.lr": 0.05, "schedule.policy": "constant", **changes}))
    rows = list(train_one_epoch(own, [batch()] * 12, epoch=0))
    assert rows[-1]["loss"] < 0.9 * rows[0]["loss"]
    assert all(math.isfinite(row["loss"]) for row in rows)
    assert all(p.dtype == torch.float32 for p in own.network.parameters())


def test_rows_say_where_they_are(tiny: Make) -> None:
    own = learner(tiny())
    rows = list(train_one_epoch(own, [batch(), batch(1)], epoch=1, first_step=1))
    assert [(row["epoch"], row["step"], row["iteration"]) for row in rows] == [
        (2, 2, 5),
        (2, 3, 6),
    ]
    assert all(row["step_s"] > 0 and row["data_s"] >= 0 for row in rows)


def test_statistics_are_frozen_only_where_the_recipe_says_so(tiny: Make) -> None:
    for frozen in (True, False):
        own = learner(tiny({"optimizer.freeze_bn": frozen}))
        before = own.network.state_dict()["trunk.stem.0.norm.running_mean"].clone()
        list(train_one_epoch(own, [batch()], epoch=0))
        after = own.network.state_dict()["trunk.stem.0.norm.running_mean"]
        assert torch.equal(before, after) == frozen


def test_a_loss_that_is_not_finite_stops_before_the_update_with_every_term(tiny: Make) -> None:
    own = learner(tiny({"loss.ar_weight": 0.1}))
    with torch.no_grad():
        own.network.aux_8.bias[0] = math.nan
    before = own.network.classifier.weight.detach().clone()
    with pytest.raises(TrainingError, match="not finite in epoch 2, step 1") as caught:
        list(train_one_epoch(own, [batch()], epoch=1))
    line = str(caught.value)
    assert "aux_8 nan" in line
    assert "affinity_regression 0." in line
    assert "cross_entropy 1." in line
    assert torch.equal(before, own.network.classifier.weight)


def test_jittered_points_depend_on_the_iteration_alone(tiny: Make) -> None:
    recipe = tiny({"loss.ar_weight": 1.0, "loss.ar_grid": "jitter"})
    losses = []
    for iteration, noise in ((4, 1), (4, 2), (5, 1)):
        own = learner(recipe, iterations_per_epoch=10)
        own.network.train()
        torch.manual_seed(noise)
        losses.append(own.step(*batch(), iteration=iteration)["affinity_regression"])
    assert losses[0] == losses[1] != losses[2]


def test_the_average_is_what_is_evaluated(tiny: Make) -> None:
    own = learner(tiny({"optimizer.ema_decay": 0.9}))
    list(train_one_epoch(own, [batch()] * 3, epoch=0))
    assert own.average is not None
    assert own.result is own.average.network
    assert own.average.n_averaged == 1 + 3
    assert not torch.equal(own.result.classifier.weight, own.network.classifier.weight)


def test_the_weights_at_the_end_of_the_last_epochs_are_averaged(tiny: Make) -> None:
    own = learner(tiny({"optimizer.average_epochs": 2, "schedule.epochs": 3}))
    ends = []
    for epoch in range(3):
        list(train_one_epoch(own, [batch(epoch)], epoch=epoch))
        own.finish_epoch(epoch)
        ends.append(own.network.classifier.weight.detach().clone())
        assert (own.result is own.network) == (epoch == 0)
    torch.testing.assert_close(own.result.classifier.weight, (ends[1] + ends[2]) / 2)
