"""Named, unscaled terms, equal to the plain two-branch form; weights in one dict, one sum."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from plain_losses import cross_entropy, street

from artoolkit.losses import (
    HardExamples,
    Objective,
    WeightedTerm,
    affinity_regression,
    step,
)
from artoolkit.losses.borders import edge_map

AUX = {"aux_16": 0.16, "aux_8": 0.4}


def make(*, ar=0.1, monitor=False, aux=None, ohem=None, align_corners=True, points=None, **options):
    """Cross-entropy of the main and the auxiliary outputs, and affinity regression."""
    hard = {"ohem": ohem}
    terms = {"cross_entropy": WeightedTerm(kind="cross_entropy", options=hard)}
    for name, weight in (aux or {}).items():
        terms[name] = WeightedTerm(kind="cross_entropy", output=name, weight=weight, options=hard)
    terms["affinity_regression"] = WeightedTerm(
        kind="affinity_regression", weight=ar, monitor=monitor, options={"points": points or {}}
    )
    return Objective(terms, align_corners=align_corners, **options)


def _outputs(score_hw=(6, 7), dtype=torch.float64):
    scores, labels = street(score_hw=score_hw)
    half, _ = street(score_hw=(3, 4), seed=1)
    scores = scores.to(dtype).requires_grad_()
    return {"main": scores, "aux_16": half.to(dtype), "aux_8": 2 * scores}, labels


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("score_hw", [(6, 7), (24, 28)])
@pytest.mark.parametrize("grid", ["center", "paper", "all"])
def test_terms_equal_the_two_branch_form(grid, score_hw, align_corners) -> None:
    outputs, labels = _outputs(score_hw)
    objective = make(points={"grid": grid}, aux=AUX, align_corners=align_corners)
    terms = objective(outputs, labels)
    plain = {
        "cross_entropy": cross_entropy(outputs["main"], labels, align_corners=align_corners),
        "aux_16": cross_entropy(outputs["aux_16"], labels, align_corners=align_corners),
        "aux_8": cross_entropy(outputs["aux_8"], labels, align_corners=align_corners),
        "affinity_regression": affinity_regression(
            outputs["main"], labels, grid=grid, align_corners=align_corners
        ),
    }
    assert list(terms) == list(plain)
    torch.testing.assert_close(terms, plain, rtol=1e-12, atol=0)
    by_hand = plain["cross_entropy"] + 0.16 * plain["aux_16"] + 0.4 * plain["aux_8"]
    by_hand = by_hand + 0.1 * plain["affinity_regression"]
    total = objective.total(terms)
    torch.testing.assert_close(total, by_hand, rtol=1e-12, atol=0)
    found, expected = (
        torch.autograd.grad(t, outputs["main"], retain_graph=True)[0] for t in (total, by_hand)
    )
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)


def test_terms_of_one_output_share_one_node(monkeypatch) -> None:
    """Cross-entropy, a second weighting of it and the points: the map is read once."""
    monkeypatch.delattr(step, "image_losses")
    calls = []
    plain = step.pixel_losses
    monkeypatch.setattr(step, "pixel_losses", lambda *a, **k: calls.append(k) or plain(*a, **k))
    outputs, labels = _outputs()
    terms = {
        "cross_entropy": WeightedTerm(kind="cross_entropy"),
        "all": WeightedTerm(kind="cross_entropy", options={"mean_over": "all"}),
        "affinity_regression": WeightedTerm(kind="affinity_regression"),
    }
    Objective(terms, align_corners=True)(outputs, labels)
    (call,) = calls
    assert call["pixels"].rows.shape == (1, 180)


def test_control_arm_does_not_compute_the_affinity(monkeypatch) -> None:
    outputs, labels = _outputs()
    for name in ("grid_pixels", "point_losses", "image_losses"):
        monkeypatch.delattr(step, name)
    objective = make(ar=0, aux=AUX)
    assert list(objective(outputs, labels)) == ["cross_entropy", "aux_16", "aux_8"]
    assert "affinity_regression" not in objective.weights


@pytest.mark.parametrize("grid", ["center", "all"])
def test_control_arm_can_watch_the_affinity_without_a_gradient(grid) -> None:
    outputs, labels = _outputs()
    watched = make(ar=0, monitor=True, points={"grid": grid})
    terms = watched(outputs, labels)
    assert not terms["affinity_regression"].requires_grad
    assert terms["affinity_regression"] > 0
    plain = make(ar=0)
    expected = plain.total(plain(outputs, labels))
    found = watched.total(terms)
    assert found == expected
    assert torch.equal(*(torch.autograd.grad(t, outputs["main"])[0] for t in (found, expected)))


@pytest.mark.parametrize("grid", ["center", "jitter", "all"])
def test_nothing_labelled_is_zero_and_not_nan(grid) -> None:
    outputs, labels = _outputs()
    objective = make(points={"grid": grid}, aux=AUX)
    terms = objective(outputs, torch.full_like(labels, 255))
    assert all(term == 0 for term in terms.values())
    objective.total(terms).backward()
    assert not outputs["main"].grad.any()


def test_pixels_near_a_border_count_more_and_with_their_class() -> None:
    outputs, labels = _outputs()
    objective = make(ar=0, boundary_weight=3.0, class_weights=[1, 2, 3, 4, 5])
    near = torch.from_numpy(np.stack([edge_map(label) for label in labels.numpy()]))
    assert 0 < near.float().mean() < 1
    assert list(objective.maps) == ["edges"]
    found = objective(outputs, labels, {"edges": near})["cross_entropy"]
    plain = cross_entropy(outputs["main"], labels, align_corners=True, reduction="none")
    weights = (1 + 2 * near) * torch.arange(1, 6)[labels.long() % 255] * (labels != 255)
    assert found.item() == pytest.approx(((plain * weights).sum() / weights.sum()).item())
    assert not make(ar=0).maps


def test_class_weights_are_those_of_cross_entropy() -> None:
    outputs, labels = _outputs()
    weights = [0.5, 2.0, 1.0, 0.0, 3.0]
    objective = make(class_weights=weights, ar=0, align_corners=False)
    expected = cross_entropy(
        outputs["main"], labels, align_corners=False, weight=torch.tensor(weights).double()
    )
    term = objective(outputs, labels)["cross_entropy"]
    torch.testing.assert_close(term, expected)
    found, plain = (torch.autograd.grad(t, outputs["main"])[0] for t in (term, expected))
    torch.testing.assert_close(found, plain)
    assert not objective.state_dict()
    with pytest.raises(ValueError, match="class_weights: got 3; expected 5"):
        make(class_weights=[1, 2, 3])(outputs, labels)


@pytest.mark.parametrize("grid", ["center", "all"])
def test_labels_may_be_uint8_or_int64(grid) -> None:
    outputs, labels = _outputs()
    objective = make(points={"grid": grid}, aux=AUX)
    assert objective(outputs, labels) == objective(outputs, labels.long())


def test_weights_can_be_changed_between_steps() -> None:
    outputs, labels = _outputs()
    objective = make(ar=1.0)
    terms = objective(outputs, labels)
    objective.weights["affinity_regression"] = 5.0
    expected = terms["cross_entropy"] + 5 * terms["affinity_regression"]
    torch.testing.assert_close(objective.total(terms), expected)


@pytest.mark.parametrize("ohem", [None, HardExamples(threshold=0.6, min_kept=1)])
def test_two_processes_give_the_mean_over_both_batches(ohem) -> None:
    """With the mean of counts over processes, their average is the term of the whole batch."""
    outputs, labels = _outputs()
    labels[0, :16] = 255
    whole = make(ohem=ohem)(outputs, labels)
    seen: list[torch.Tensor] = []
    for image in range(2):
        part = make(ohem=ohem, mean_count=lambda n: seen.append(n) or n)
        part({"main": outputs["main"][image : image + 1]}, labels[image : image + 1])
    means = [torch.stack(pair).mean() for pair in zip(seen[:2], seen[2:], strict=True)]
    parts = []
    for image in range(2):
        counts = iter(means)
        part = make(ohem=ohem, mean_count=lambda _, c=counts: next(c))
        parts.append(part({"main": outputs["main"][image : image + 1]}, labels[image : image + 1]))
    for name, term in whole.items():
        torch.testing.assert_close((parts[0][name] + parts[1][name]) / 2, term)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast(dtype) -> None:
    outputs, labels = _outputs(dtype=torch.float32)
    objective = make(aux=AUX)
    expected = objective(outputs, labels)
    with torch.autocast("cpu", dtype=dtype):
        found = objective(outputs, labels)
    assert found == expected


@pytest.mark.slow
@pytest.mark.parametrize("grid", ["center", "jitter", "all"])
@pytest.mark.filterwarnings("ignore")  # the compiler's own, which differ between versions of torch
def test_compiles_as_one_graph(grid) -> None:
    outputs, labels = _outputs()
    objective = make(points={"grid": grid}, aux=AUX)

    def step(main: torch.Tensor) -> torch.Tensor:
        return objective.total(objective({**outputs, "main": main, "aux_8": main}, labels))

    torch.manual_seed(0)
    expected = torch.autograd.grad(step(outputs["main"]), outputs["main"])[0]
    torch.manual_seed(0)
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    found = torch.autograd.grad(compiled(outputs["main"]), outputs["main"])[0]
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "entropy"}, "no such term: got 'entropy'; expected cross_entropy, affinity_reg"),
        ({"kind": "cross_entropy", "weight": -1.0}, "weight: got -1.0; expected a finite number"),
        ({"kind": "cross_entropy", "weight": math.nan}, "weight: got nan"),
        ({"kind": "cross_entropy", "options": {"hard": 1}}, "hard is unknown"),
        ({"kind": "cross_entropy", "options": {"ohem": {"threshold": 2}}}, "0 < threshold <= 1"),
        ({"kind": "affinity_regression", "options": {"points": {"grid": "middle"}}}, "'center'"),
        ({"kind": "affinity_regression", "options": {"points": {"stride": 4}}}, "the grid 'all'"),
    ],
)
def test_wrong_terms(values, message) -> None:
    with pytest.raises(ValueError, match=message):
        WeightedTerm(**values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"main": None}, "outputs: main missing; got aux_16, aux_8"),
        ({"aux_8": None}, "outputs: aux_8 missing; got main, aux_16"),
        ({"aux_16": torch.zeros(1, 5, 3, 4)}, "batch: got 1 score maps and 2 labels"),
        ({"main": torch.zeros(2, 4, 6, 7)}, "labels: got 4; expected 0 to 3, or 255 for void"),
    ],
)
def test_outputs_that_do_not_fit(change, message) -> None:
    outputs, labels = _outputs()
    outputs = {k: v for k, v in {**outputs, **change}.items() if v is not None}
    with pytest.raises(ValueError, match=message):
        make(aux=AUX)(outputs, labels)
