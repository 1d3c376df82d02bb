"""Where the points lie, and what is read there."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from artoolkit.losses import Points
from artoolkit.losses.sampling import (
    LabelPixels,
    add_scores,
    axis_taps,
    grid_pixels,
    read_labels,
    read_scores,
    strided,
)

CPU = torch.device("cpu")
ROWS_OF_1024 = {
    ("paper", 12): [0, 85, 170, 256, 341, 426, 512, 597, 682, 768, 853, 938],
    ("paper", 6): [0, 170, 341, 512, 682, 853],
    ("center", 12): [42, 128, 213, 298, 384, 469, 554, 640, 725, 810, 896, 981],
    ("center", 6): [85, 256, 426, 597, 768, 938],
}


@pytest.mark.parametrize(("grid", "size"), ROWS_OF_1024)
def test_rows_of_a_cityscapes_label(grid, size) -> None:
    points = grid_pixels((1024, 2048), Points(grid=grid, sizes=(size,)), batch=1, device=CPU)
    rows = ROWS_OF_1024[grid, size]
    assert points.rows[0].view(size, size)[:, 0].tolist() == rows
    assert points.cols[0].view(size, size)[0].tolist() == [
        c * 2048 // (2 * size)
        for c in (range(0, 2 * size, 2) if grid == "paper" else range(1, 2 * size, 2))
    ]


def test_both_scales_are_concatenated_and_pairs_of_the_paper_nest() -> None:
    both = grid_pixels((90, 120), Points(grid="paper"), batch=1, device=CPU)
    assert both.rows.shape == both.cols.shape == (1, 180)
    pairs = list(zip(both.rows[0].tolist(), both.cols[0].tolist(), strict=True))
    assert set(pairs[144:]) < set(pairs[:144])


@pytest.mark.parametrize("label_hw", [(90, 121), (13, 12), (3, 5)])
def test_jitter_takes_one_pixel_of_each_cell(label_hw) -> None:
    generator = torch.Generator().manual_seed(0)

    points = Points(grid="jitter", sizes=(6, 3), generator=generator)

    def draw() -> LabelPixels:
        return grid_pixels(label_hw, points, batch=40, device=CPU)

    first, second = draw(), draw()
    assert first.rows.shape == (40, 45)
    for size, start in ((6, 0), (3, 36)):
        cell = torch.arange(size * size)
        for axis, index, length in (
            (first.rows, cell // size, label_hw[0]),
            (first.cols, cell % size, label_hw[1]),
        ):
            part = axis[:, start : start + size * size]
            lower = index * length // size
            upper = torch.maximum((index + 1) * length // size, lower + 1)
            assert (part >= lower).all()
            assert (part < upper).all()
            assert torch.equal(part.amin(0), lower) or length > 40
            assert torch.equal(part.amax(0), upper - 1) or length > 40
    assert label_hw == (3, 5) or not torch.equal(first.rows, second.rows)
    generator.manual_seed(0)
    assert torch.equal(draw().rows, first.rows)


def test_jitter_follows_the_global_seed_by_default() -> None:
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        points = Points(grid="jitter", sizes=(12,))
        draws.append(grid_pixels((90, 120), points, batch=2, device=CPU).rows)
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


@pytest.mark.parametrize(
    ("length", "stride", "expected"), [(8, 1, list(range(8))), (10, 4, [2, 6]), (3, 8, [2])]
)
def test_strided(length, stride, expected) -> None:
    assert strided(length, stride, CPU).tolist() == expected


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize(
    ("size_in", "size_out"), [(5, 20), (5, 17), (7, 7), (9, 4), (1, 6), (4, 1)]
)
def test_taps_are_those_of_interpolate(size_in, size_out, align_corners) -> None:
    values = torch.randn(1, 1, size_in, 1, dtype=torch.float64)
    expected = F.interpolate(
        values, size=(size_out, 1), mode="bilinear", align_corners=align_corners
    )[0, 0, :, 0]
    taps = axis_taps(
        torch.arange(size_out),
        size_in=size_in,
        size_out=size_out,
        align_corners=align_corners,
        dtype=torch.float64,
    )
    line = values[0, 0, :, 0]
    found = line[taps.lower] * (1 - taps.share) + line[taps.upper] * taps.share
    torch.testing.assert_close(found, expected, rtol=0, atol=4e-15)
    assert (taps.share >= 0).all()
    assert (taps.share < 1).all()


@pytest.mark.parametrize("score_hw", [(4, 5), (16, 20)])
def test_adding_points_is_the_transpose_of_reading_them(score_hw) -> None:
    scores = torch.randn(2, 3, *score_hw, dtype=torch.float64)
    pixels = grid_pixels((16, 20), Points(grid="jitter", sizes=(6,)), batch=2, device=CPU)
    pull = torch.randn(2, 3, 36, dtype=torch.float64)
    options = {"label_hw": (16, 20), "align_corners": True}
    gradient = torch.ones_like(scores)
    add_scores(gradient, pull, pixels, **options)
    forwards = (read_scores(scores, pixels, **options) * pull).sum()
    torch.testing.assert_close(((gradient - 1) * scores).sum(), forwards)


def test_labels_are_read_and_not_resized() -> None:
    labels = torch.arange(30, dtype=torch.uint8).view(1, 5, 6).repeat(2, 1, 1)
    pixels = LabelPixels(torch.tensor([[0, 4]]), torch.tensor([[3, 5]]))
    assert read_labels(labels, pixels).tolist() == [[3, 29], [3, 29]]
