"""The benchmark of the losses: what it times runs, and its table says what was measured."""

from __future__ import annotations

import pytest
from loss_cost_table import seconds, table
from side_by_side import ratio

torch = pytest.importorskip("torch")


def _sample(cross_entropy: float, row: float) -> dict[str, dict[str, float]]:
    return {"cross_entropy": {"wall_s": cross_entropy}, "row": {"wall_s": row}}


def test_a_ratio_is_taken_within_each_repetition() -> None:
    """The machine became ten times slower half way; the ratio did not change."""
    samples = [_sample(1, 0.5), _sample(10, 5), _sample(10, 5.1)]
    assert ratio(seconds(samples)) == pytest.approx(0.5)


def test_the_table_has_a_column_for_each_run_and_no_number_that_was_not_measured() -> None:
    small = {
        "shape": "1x2x16x16",
        "threads": 1,
        "samples": {"fused": [_sample(2, 1)], "Lovasz": [_sample(1, 20)]},
        "extra_maps": {"fused": 1.25, "Lovasz": None},
    }
    large = {
        "shape": "2x2x32x32",
        "threads": 2,
        "samples": {"fused": [_sample(4, 1)]},
        "extra_maps": {"fused": 1.0},
    }
    head, _, *rows = table({"raw": {"runs": [small, large]}})
    assert head.endswith("| 1x2x16x16, 1 thread | 2x2x32x32, 2 threads |")
    assert rows == [
        "| Lovasz | 20.00 ± 0 % | - |",
        "| fused | 0.50 ± 0 % (1.25) | 0.25 ± 0 % (1.00) |",
    ]


def test_everything_that_is_timed_has_a_gradient() -> None:
    import loss_cost

    scene = loss_cost.make_scene((1, 3, 32, 32), seed=0)
    assert scene.map_bytes == 3 * 32 * 32 * 4
    assert (scene.labels == loss_cost.VOID).any()
    own, others = loss_cost.rows({})
    assert not others
    for row in (*own.values(), *loss_cost.teacher_rows().values()):
        gradient = row(scene)
        assert gradient.shape in (scene.low.shape, scene.full.shape)
        assert gradient.any()


@pytest.mark.parametrize("package", ["kornia", "rmi-pytorch"])
def test_alternatives_of_packages_have_a_gradient_too(package: str) -> None:
    import loss_cost

    pytest.importorskip(loss_cost.MODULES[package], reason=f"{package} is not installed")
    ((_, row),) = loss_cost.rows({package: "1"})[1].items()
    gradient = row(loss_cost.make_scene((1, 3, 64, 64), seed=0))
    assert gradient.shape == (1, 3, 64, 64)
    assert gradient.any()


def test_what_is_not_measured_says_where_it_was_looked_for() -> None:
    import loss_cost

    assert set(loss_cost.UNAVAILABLE) == {"aaf"}
    assert "looked for" in loss_cost.UNAVAILABLE["aaf"]


@pytest.mark.parametrize("text", ["2x19x1024", "1x2x17x32", "0x2x16x16"])
def test_a_shape_that_is_none_is_refused(text) -> None:
    import click
    import loss_cost

    with pytest.raises(click.BadParameter, match=f"got {text}"):
        loss_cost.parse_shape(text)
