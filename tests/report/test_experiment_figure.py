from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest

from artoolkit.evaluation.experiment import summarise
from artoolkit.report.experiment_figure import ARM_COLOR, CONTROL_COLOR, experiment_svg

ROWS = [
    {"arm": arm, "ar_weight": weight, "seed": seed, "epochs": 8, "mIoU": 50 + seed + weight / 10}
    for seed in (1, 2, 3)
    for arm, weight in (("control", 0.0), ("all", 20.0))
]


@pytest.fixture(scope="module")
def svg() -> str:
    pytest.importorskip("matplotlib", reason="figures need matplotlib")
    return experiment_svg(summarise(ROWS), "camvid-finetune")


def test_it_is_an_svg_that_names_title_arms_and_axes(svg: str) -> None:
    ElementTree.fromstring(svg)
    for words in ("camvid-finetune", "control", "all, 20", "95 % t interval"):
        assert words in svg


def test_every_run_is_a_point_in_the_color_of_its_kind(svg: str) -> None:
    points = re.findall(r"<use [^>]*style=\"fill: (#\w+); fill-opacity", svg)
    assert points.count(CONTROL_COLOR) == points.count(ARM_COLOR) == 3


def test_the_same_numbers_give_the_same_bytes(svg: str) -> None:
    assert experiment_svg(summarise(ROWS), "camvid-finetune") == svg


def test_an_arm_without_pairs_has_no_interval() -> None:
    pytest.importorskip("matplotlib", reason="figures need matplotlib")
    one = [row for row in ROWS if row["seed"] == 1]
    few, many = (experiment_svg(summarise(rows), "t").count(ARM_COLOR) for rows in (one, ROWS))
    assert few < many
