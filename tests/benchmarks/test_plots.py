"""Plots are SVG in the reader's colours, and carry the numbers that they show."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from image_size import SIZES
from plots import accuracy_plot, description, image_size_plot, published_plot


def sizes() -> dict:
    """A cost that is the pixels': 1 and 100 MiB for the reference, above 90 MiB of libraries."""
    raw = {}
    for size, batch in [(size, 1) for size in SIZES] + [(SIZES[0], 2), (SIZES[0], 4)]:
        share = batch * size[0] * size[1] / 2**21
        seconds = {"case": [share] * 3, "reference": [1.0] * 3}
        process = {"before_bytes": 0, "peak_bytes": [int((90 + 100 * share) * 2**20)]}
        case = {"size": size, "batch": batch, "seconds": seconds, "process": process}
        raw[f"{size} {batch}"] = case
    return raw


def timed(*case: float) -> dict:
    return {"seconds": {"case": case, "reference": [1.0] * len(case)}}


def curve(*mious: float) -> dict:
    return {"rows": [{"kind": "epoch", "epoch": n, "mIoU": m} for n, m in enumerate(mious, 1)]}


TRAINED = {"small": curve(20.0, 30.0, 28.5), "large": curve(21.0, 22.0, 33.25), "left": curve(9)}
TIMED = {
    "small, fp32, 512 x 1024": timed(1.0, 1.0, 1.1),
    "large, fp32, 512 x 1024": timed(3.0, 3.1, 2.0),
    "out, fp32, 512 x 1024": timed(9.0),
}


@pytest.mark.parametrize(
    "svg",
    [image_size_plot(sizes()), accuracy_plot(TRAINED, TIMED), published_plot({})],
    ids=["size", "accuracy", "published"],
)
def test_a_plot_takes_every_colour_from_the_reader_s_system(svg: str) -> None:
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg")
    assert "prefers-color-scheme: dark" in svg
    drawn = re.findall(r"(?:fill|stroke): (#\w+)", svg.split("</style>")[1])
    assert drawn == []
    for name in set(re.findall(r"var\((--\w+)\)", svg)):
        assert len(re.findall(rf"{name}: #[0-9a-f]{{6}}", svg)) == 2, "one for light, one for dark"


def test_the_plot_of_sizes_tells_every_size() -> None:
    told = description(image_size_plot(sizes()))
    assert told.startswith("256 x 512 batch 1: 0.062, 96 MiB; 384 x 768 batch 1: 0.141, ")
    assert told.count(";") == 8


def test_accuracy_is_that_of_the_last_epoch_of_networks_with_both() -> None:
    svg = accuracy_plot(TRAINED, TIMED)
    assert description(svg) == "small: 1.00, 28.50 %; large: 3.00, 33.25 %"
    assert "After 3 epochs from scratch on small crops" in svg


def test_published_scores_stand_beside_the_cost() -> None:
    told = description(published_plot({}))
    assert "pidnet_s: 47.2, 78.74 %" in told
    assert "fast_scnn: 7.3, 70.96 %" in told
    assert "refinenet" not in told


def test_the_same_values_draw_the_same_plot() -> None:
    assert image_size_plot(sizes()) == image_size_plot(sizes())


def test_a_drawing_of_somebody_else_has_no_numbers() -> None:
    assert description("<svg/>") == ""
