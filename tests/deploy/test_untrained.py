"""Untrained checkpoints: repeatable, settled, and no trace in the random state."""

from __future__ import annotations

import pytest
import torch

from artoolkit.deploy.untrained import numbered_classes, untrained_checkpoint
from artoolkit.errors import UsageError


def test_a_seed_gives_the_same_weights_and_leaves_the_callers_random_state() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, two = (untrained_checkpoint("tiny", 5, seed=3) for _ in range(2))
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(one.state[key], two.state[key]) for key in one.state)
    other = untrained_checkpoint("tiny", 5, seed=4)
    assert not torch.equal(one.state["stem.weight"], other.state["stem.weight"])


def test_activations_keep_their_size() -> None:
    checkpoint = untrained_checkpoint("tiny", 5)
    network = checkpoint.network()
    seen: list[float] = []
    network.alone.register_forward_hook(lambda *args: seen.append(float(args[2].std())))
    with torch.inference_mode():
        scores = network(torch.randn(2, 3, 64, 64))
    assert 0.5 < seen[0] < 2
    assert torch.isfinite(scores).all()
    assert not network.training
    assert network.stem_norm.momentum == 0.1
    assert checkpoint.meta.provenance == {"untrained": True, "seed": 0}


def test_classes_are_numbered_and_told_apart() -> None:
    table = numbered_classes(19)
    assert table.names[:2] == ("class_0", "class_1")
    assert len(set(table.colors)) == 19


def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown network"):
        untrained_checkpoint("nonesuch", 5)
