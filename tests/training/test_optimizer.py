from __future__ import annotations

import pytest
import torch

from artoolkit.networks import Network, build
from artoolkit.training.optimizer import (
    Average,
    build_optimizer,
    freeze_batch_norm,
    lr_factor,
    set_learning_rate,
)
from artoolkit.training.recipe import Optimizer, Schedule


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    return build("icnet", num_classes=3, width=0.125)


def schedule(**values: object) -> Schedule:
    return Schedule.model_validate({"epochs": 10, "batch_size": 2, **values})


def test_poly_falls_from_one_to_almost_nothing() -> None:
    assert lr_factor(schedule(), 0, 5) == 1.0
    assert lr_factor(schedule(power=1.0), 25, 5) == pytest.approx(0.5)
    assert lr_factor(schedule(power=0.9), 25, 5) == pytest.approx(0.5**0.9)
    assert 0 < lr_factor(schedule(), 49, 5) < 0.04


def test_steps_halve_at_their_epochs() -> None:
    steps = schedule(policy="steps", milestones=[2, 6], factor=0.5)
    by_epoch = [lr_factor(steps, 5 * epoch, 5) for epoch in range(8)]
    assert by_epoch == [1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]
    assert lr_factor(steps, 9, 5) == 1


def test_a_warm_up_rises_linearly_to_the_schedule() -> None:
    constant = schedule(policy="constant", warmup_iterations=4)
    assert [lr_factor(constant, i, 5) for i in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    poly = schedule(warmup_iterations=4)
    assert lr_factor(poly, 1, 5) == 0.5 * lr_factor(schedule(), 1, 5)


def test_groups_multiply_the_rate_of_encoder_and_decoder(network: Network) -> None:
    settings = Optimizer(lr=0.1, encoder_multiplier=0.1, decoder_multiplier=2.0)
    optimizer = build_optimizer(network, settings)
    set_learning_rate(optimizer, 0.1)
    rate_of = {
        id(parameter): group["lr"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    for key, parameter in network.named_parameters():
        expected = 0.01 if key.startswith(network.encoder) else 0.2
        assert rate_of[id(parameter)] == pytest.approx(expected), key
    assert len(rate_of) == len(list(network.parameters()))


def test_norms_and_biases_may_be_left_out_of_the_decay(network: Network) -> None:
    settings = Optimizer(lr=0.1, weight_decay=0.5, decay_norms=False)
    decayed = {
        id(parameter)
        for group in build_optimizer(network, settings).param_groups
        if group["weight_decay"] == 0.5
        for parameter in group["params"]
    }
    for key, parameter in network.named_parameters():
        assert (id(parameter) in decayed) == (parameter.ndim == 4), key
    everything = build_optimizer(network, Optimizer(lr=0.1, weight_decay=0.5))
    assert {group["weight_decay"] for group in everything.param_groups} == {0.5}


def test_a_multiplier_of_zero_leaves_its_part_out(network: Network) -> None:
    optimizer = build_optimizer(network, Optimizer(lr=0.1, encoder_multiplier=0.0))
    given = {id(p) for group in optimizer.param_groups for p in group["params"]}
    for key, parameter in network.named_parameters():
        assert (id(parameter) in given) != key.startswith(network.encoder)


def test_frozen_statistics_stay_and_weights_still_learn(network: Network) -> None:
    network.train()
    freeze_batch_norm(network)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    scores = network(torch.randn(2, 3, 32, 32))["main"]
    scores.square().sum().backward()
    after = network.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before if "running" in key)
    norms = [p for m in network.modules() if hasattr(m, "running_mean") for p in m.parameters()]
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in norms)


def test_the_average_follows_and_counts(network: Network) -> None:
    average = Average(network, decay=0.9)
    start = network.classifier.weight.detach().clone()
    with torch.no_grad():
        network.classifier.weight += 1
    average.update_parameters(network)
    # First decay (1 + 0) / (10 + 0) = 0.1: nine tenths of the way.
    torch.testing.assert_close(average.network.classifier.weight, start + 0.9)
    for _ in range(200):
        average.update_parameters(network)
    torch.testing.assert_close(average.network.classifier.weight, start + 1)
    assert average.n_averaged == 1 + 201
    assert not any(p.requires_grad for p in average.network.parameters())
    assert not average.network.training


def test_the_average_copies_counters(network: Network) -> None:
    average = Average(network, decay=0.9)
    network.train()
    network(torch.randn(2, 3, 32, 32))
    average.update_parameters(network)
    counters = [k for k in network.state_dict() if k.endswith("num_batches_tracked")]
    assert counters
    assert all(int(average.network.state_dict()[key]) == 1 for key in counters)


def test_the_rate_rises_from_and_falls_to_what_the_schedule_says() -> None:
    gentle = schedule(warmup_iterations=4, start_factor=0.2, policy="constant")
    assert [lr_factor(gentle, i, 5) for i in range(5)] == pytest.approx([0.4, 0.6, 0.8, 1, 1])
    lasting = schedule(power=1.0, end_factor=0.1)
    assert [lr_factor(lasting, i, 5) for i in (0, 25)] == pytest.approx([1, 0.55])
    assert lr_factor(lasting, 49, 5) == pytest.approx(0.1 + 0.9 / 50)


def test_adamw_takes_one_step_and_leaves_layer_norms_undecayed() -> None:
    torch.manual_seed(0)
    network = build("segformer_b0", num_classes=3, width=0.0625)
    settings = Optimizer(algorithm="adamw", lr=0.01, weight_decay=0.5, decay_norms=False)
    optimizer = build_optimizer(network, settings)
    assert isinstance(optimizer, torch.optim.AdamW)
    assert {group["betas"] for group in optimizer.param_groups} == {(0.9, 0.999)}
    undecayed = {
        id(p) for g in optimizer.param_groups if not g["weight_decay"] for p in g["params"]
    }
    for key, parameter in network.named_parameters():
        assert (id(parameter) in undecayed) == ("norm" in key or key.endswith("bias")), key
    before = network.classifier.weight.detach().clone()
    network(torch.randn(2, 3, 32, 32))["main"].square().mean().backward()
    set_learning_rate(optimizer, 0.01)
    optimizer.step()
    # The first step of Adam moves every weight by the rate, beside the decay.
    moved = (network.classifier.weight - before * (1 - 0.01 * 0.5)).abs()
    assert moved.median().item() == pytest.approx(0.01, rel=0.01)


def test_nesterov_is_for_sgd() -> None:
    with pytest.raises(ValueError, match="nesterov needs a momentum above 0, and sgd"):
        Optimizer(algorithm="adamw", lr=0.01, nesterov=True)


def test_a_network_that_names_no_encoder_is_trained_at_the_rate_itself() -> None:
    settings = Optimizer(lr=0.1, encoder_multiplier=0.1, decoder_multiplier=10.0)
    for options, expected in (({}, {1.0}), ({"encoder": ["trunk."]}, {0.1, 10.0})):
        own = build("own_network:Plain", num_classes=3, **options)
        groups = build_optimizer(own, settings).param_groups
        assert {group["multiplier"] for group in groups} == expected
