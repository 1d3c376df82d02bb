"""Terms with a teacher, against their definitions over every pixel and every pair."""

from __future__ import annotations

import pytest
import torch
from plain_losses import street, upsampled
from torch import Tensor

from artoolkit.losses import Objective, TeacherScores, WeightedTerm, affinity_regression, gram
from artoolkit.losses import distillation as module

SIZES = [(6, 7), (24, 28)]


def term(kind: str, scores: Tensor, labels: Tensor, teacher: Tensor, **options) -> Tensor:
    objective = Objective({kind: WeightedTerm(kind=kind, options=options)}, align_corners=True)
    taught = TeacherScores(teacher, align_corners=False)
    return objective({"main": scores}, labels, teacher=taught)[kind]


def pairs(scores: Tensor, labels: Tensor, teacher: Tensor, *, stride: int, where: str) -> Tensor:
    """Mean over the images of the mean over every pair of (A_ij - B_ij)^2."""
    losses = []
    for ours, theirs, truth in zip(
        upsampled(scores, labels, True), upsampled(teacher, labels, False), labels, strict=True
    ):
        at = (slice(None), slice(stride // 2, None, stride), slice(stride // 2, None, stride))
        own = torch.exp(0.5 * torch.log_softmax(ours[at].flatten(1), 0))
        target = torch.exp(0.5 * torch.log_softmax(theirs[at].flatten(1), 0))
        label = truth[at[1:]].flatten().long()
        if where == "void":
            known = label != 255
            target[:, known] = torch.eye(len(own), dtype=own.dtype)[label[known]].T
        losses.append((own.T @ own - target.T @ target).square().mean())
    return torch.stack(losses).mean()


@pytest.mark.parametrize("where", ["void", "everywhere"])
@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("score_hw", SIZES)
def test_affinities_are_those_of_all_pairs(score_hw, stride, where) -> None:
    scores, labels = street(score_hw=score_hw)
    teacher, _ = street(score_hw=(5, 4), seed=1)
    scores.requires_grad_()
    found = term("affinity_distillation", scores, labels, teacher, stride=stride, where=where)
    plain = pairs(scores, labels, teacher, stride=stride, where=where)
    torch.testing.assert_close(found, plain, rtol=1e-12, atol=0)
    one, other = (torch.autograd.grad(loss, scores)[0] for loss in (found, plain))
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-17)


def test_a_device_that_is_not_looked_at_gets_the_same(monkeypatch) -> None:
    """The form for GPUs, which computes the teacher everywhere."""
    scores, labels = street()
    teacher, _ = street(score_hw=(5, 4), seed=1)
    scores.requires_grad_()
    found = []
    for devices in (("cpu",), ()):
        monkeypatch.setattr(gram, "LOOKED_AT", devices)
        loss = term("affinity_distillation", scores, labels, teacher, stride=2)
        found.append((loss.detach(), *torch.autograd.grad(loss, scores)))
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-17)


def test_without_void_it_is_affinity_regression_and_of_oneself_everywhere_nothing() -> None:
    scores, labels = street()
    labels = labels % 5
    teacher, _ = street(seed=1)
    found = term("affinity_distillation", scores, labels, teacher, stride=2)
    plain = affinity_regression(scores, labels, grid="all", stride=2, align_corners=True)
    torch.testing.assert_close(found, plain, rtol=1e-12, atol=0)
    same = Objective(
        {"t": WeightedTerm(kind="affinity_distillation", options={"where": "everywhere"})},
        align_corners=True,
    )
    itself = same({"main": scores}, labels, teacher=TeacherScores(scores, True))["t"]
    assert itself.item() == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
@pytest.mark.parametrize("score_hw", SIZES)
def test_divergence_is_that_of_every_pixel_void_ones_too(score_hw, temperature) -> None:
    scores, labels = street(score_hw=score_hw)
    teacher, _ = street(score_hw=(5, 4), seed=1)
    scores.requires_grad_()
    found = term("distillation", scores, labels, teacher, temperature=temperature, stride=1)
    ours = torch.log_softmax(upsampled(scores, labels, True) / temperature, 1)
    theirs = torch.log_softmax(upsampled(teacher, labels, False) / temperature, 1)
    plain = temperature**2 * (theirs.exp() * (theirs - ours)).sum(1).mean()
    torch.testing.assert_close(found, plain, rtol=1e-12, atol=0)
    one, other = (torch.autograd.grad(loss, scores)[0] for loss in (found, plain))
    torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-17)


@pytest.mark.parametrize("kind", ["distillation", "affinity_distillation"])
@pytest.mark.parametrize("score_hw", [(2, 3), (5, 6)])
def test_gradcheck(kind, score_hw) -> None:
    scores, labels = street(batch=1, classes=3, score_hw=score_hw, label_hw=(5, 6))
    teacher, _ = street(batch=1, classes=3, score_hw=(3, 3), seed=1)
    assert torch.autograd.gradcheck(
        lambda s: term(kind, s, labels, teacher, stride=2), scores.requires_grad_()
    )


@pytest.mark.parametrize("kind", ["distillation", "affinity_distillation"])
def test_half_precision_and_extreme_scores_stay_finite(kind) -> None:
    scores, labels = street()
    teacher, _ = street(seed=1)
    leaf = (1e4 * scores).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = term(kind, leaf, labels, (1e4 * teacher).bfloat16())
    loss.backward()
    assert loss.dtype == torch.float32 and loss.isfinite()
    assert leaf.grad.isfinite().all()


def test_a_missing_teacher_and_one_of_other_classes_are_named() -> None:
    scores, labels = street()
    objective = Objective({"distillation": WeightedTerm(kind="distillation")}, align_corners=True)
    assert objective.taught
    with pytest.raises(ValueError, match="teacher: no scores"):
        objective({"main": scores}, labels)
    with pytest.raises(ValueError, match=r"teacher: got scores of shape .*; expected 2 x 5"):
        objective({"main": scores}, labels, teacher=TeacherScores(scores[:, :4], True))
    with pytest.raises(ValueError, match="temperature"):
        WeightedTerm(kind="distillation", options={"temperature": 0})


@pytest.mark.slow
def test_operators_are_described_rightly_to_the_compiler() -> None:
    scores, labels = street(batch=1, classes=3, score_hw=(2, 3), label_hw=(5, 6))
    arguments = (scores.requires_grad_(), scores.detach(), [5, 6], 2, False, True, 2.0)
    found = torch.library.opcheck(module._divergence, arguments)
    assert set(found.values()) == {"SUCCESS"}
    pairs = (scores.requires_grad_(), labels, scores.detach(), 2, False, 255, True, False)
    assert set(torch.library.opcheck(gram._sums, pairs).values()) == {"SUCCESS"}
