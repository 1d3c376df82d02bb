"""All pairs block by block: the same numbers for any block size, exact ones for many points."""

from __future__ import annotations

import pytest
import torch
from plain_losses import street

from artoolkit.losses import affinity_regression, gram, reading


@pytest.mark.parametrize("score_hw", [(6, 7), (24, 28)])
@pytest.mark.parametrize("stride", [1, 2])
def test_blocks_do_not_change_the_result(score_hw, stride, monkeypatch) -> None:
    scores, labels = street(score_hw=score_hw)
    found = []
    for size in (1, 1 << 20):
        monkeypatch.setitem(reading.BLOCK_BYTES, "cpu", size)
        leaf = scores.clone().requires_grad_()
        loss = affinity_regression(leaf, labels, grid="all", stride=stride, align_corners=True)
        loss.backward()
        found.append((loss.detach(), leaf.grad))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-13, atol=0)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-12, atol=1e-17)


def test_float32_is_exact_enough_on_many_points_of_a_good_network() -> None:
    """The three sums nearly cancel: each is near N^2, the loss times N^2 far below."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 19, (1, 64, 96), generator=generator).repeat_interleave(4, 2)
    scores = 9 * torch.nn.functional.one_hot(labels, 19).permute(0, 3, 1, 2).double()
    scores += torch.randn(scores.shape, generator=generator, dtype=torch.float64)
    exact = affinity_regression(scores, labels, grid="all", align_corners=True)
    assert exact < 0.01
    loss = affinity_regression(scores.float(), labels, grid="all", align_corners=True)
    assert loss.item() == pytest.approx(exact.item(), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("score_hw", [(2, 3), (5, 6)])
def test_operators_are_described_rightly_to_the_compiler(score_hw) -> None:
    scores, labels = street(batch=1, classes=3, score_hw=score_hw, label_hw=(5, 6))
    arguments = (scores.requires_grad_(), labels, None, 2, False, 255, False, False)
    found = torch.library.opcheck(gram._sums, arguments)
    assert set(found.values()) == {"SUCCESS"}
