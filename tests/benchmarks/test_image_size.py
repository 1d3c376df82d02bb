"""Cost against size: the fit finds a fixed cost, and the table what a pixel costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import image_size
import pytest
from image_size import MIB, fitted, points, table

pytest.importorskip("torch")
REFERENCE = 1024 * 2048


def row(size: tuple[int, int], batch: int = 1, *, fixed: float = 0.0) -> dict[str, Any]:
    """A machine with a fixed cost in time, 90 MiB of libraries, and 100 MiB a reference image."""
    share = batch * size[0] * size[1] / REFERENCE
    peak = int((30 + 90 + 100 * share) * MIB)
    return {
        "size": list(size),
        "batch": batch,
        "seconds": {"case": [fixed + share] * 3, "reference": [fixed + 1.0] * 3},
        "process": {"before_bytes": 30 * MIB, "peak_bytes": [peak, peak, 99 * peak]},
    }


def raw(**options: float) -> dict[str, Any]:
    rows = [row(size, **options) for size in image_size.SIZES]
    rows += [row((256, 512), batch, **options) for batch in image_size.BATCHES]
    return {f"{number}": values for number, values in enumerate(reversed(rows))}


def test_a_line_is_found_with_its_fixed_cost() -> None:
    line = fitted([1, 2, 4, 64], [3.5, 4.0, 5.0, 35.0])
    assert (line.fixed, line.slope) == (pytest.approx(3.0), pytest.approx(0.5))
    assert line.residuals_percent == pytest.approx((0, 0, 0, 0))


def test_a_small_size_counts_as_much_as_a_large_one() -> None:
    """By absolute squares the first point would be given up for the last."""
    line = fitted([1, 2, 1000], [1.0, 2.0, 1100.0])
    assert max(map(abs, line.residuals_percent)) < 8
    assert line.residuals_percent[2] > 0


def test_points_are_in_the_order_of_batch_and_pixels() -> None:
    found = points(raw())
    assert [p.pixels for p in found[:7]] == sorted(h * w for h, w in image_size.SIZES)
    assert [p.batch for p in found[7:]] == [2, 4]
    assert found[4].time == 1
    assert found[4].mib == pytest.approx(190)


def test_a_linear_cost_is_called_one() -> None:
    lines = table(raw())
    assert "| 256 x 512, 1 | 0.062 ± 0 % | 1.00 | +0 % | 96 | 8.11 | +0 % |" in lines
    assert "| 256 x 512, 4 | 0.250 ± 0 % | 1.00 | - | 115 | 2.42 | - |" in lines
    assert lines[-3].startswith("Time: a fixed cost of 0.0 % of the reference's")
    assert lines[-1].startswith("Memory: 90 MiB whatever the size (libraries and weights) and 48 ")


def test_a_fixed_cost_is_seen_where_images_are_small() -> None:
    lines = table(raw(fixed=0.25))
    assert "| 256 x 512, 1 | 0.250 ± 0 % | 4.00 | +0 % | 96 | 8.11 | +0 % |" in lines
    assert lines[-3].startswith("Time: a fixed cost of 20.0 % of the reference's")


@pytest.mark.slow
def test_a_size_is_really_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_size, "REFERENCE", (128, 256))
    found = image_size.measured("icnet", (64, 128), 2, folder=tmp_path, budget_s=0.0, processes=1)
    assert len(found["seconds"]["case"]) == 5
    assert not found["process"]["torch_imported"]
    assert image_size.memory_mib(found["process"]) > 10
