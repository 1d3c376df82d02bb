"""Windows cover every pixel, and what would leave some out is refused."""

import numpy as np
import pytest

from artoolkit.evaluation.views import Views, window_starts


def test_pspnets_windows_on_cityscapes() -> None:
    """713 pixels, overlap of a third: the positions of the published evaluation."""
    views = Views(window=(713, 713))
    assert views.steps == (476, 476)
    assert list(window_starts(1024, 713, 476)) == [0, 311]
    assert list(window_starts(2048, 713, 476)) == [0, 476, 952, 1335]


@pytest.mark.parametrize("size", range(1, 40, 3))
@pytest.mark.parametrize(("window", "step"), [(8, 8), (8, 5), (9, 1)])
def test_every_pixel_is_seen_and_no_window_leaves_the_image(
    size: int, window: int, step: int
) -> None:
    seen = np.zeros(max(size, window), int)
    for start in window_starts(size, window, step):
        assert 0 <= start <= max(size - window, 0)
        seen[start : start + window] += 1
    assert seen.all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scales": ()}, "scales must be positive"),
        ({"scales": (0.0,)}, "scales must be positive"),
        ({"stride": (8, 8)}, "a window stride belongs to a window"),
        ({"window": (8, 8), "stride": (8, 9)}, "leaves pixels out"),
        ({"window": (0, 8)}, "leaves pixels out"),
    ],
)
def test_views_that_cannot_be(values: dict[str, tuple[float, ...]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Views(**values)
