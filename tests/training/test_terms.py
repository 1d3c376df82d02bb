"""A term of the loss is a function and a line: what a package of somebody else adds to a run."""

from __future__ import annotations

import importlib
import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest
import tomlkit
import torch
from streets import TABLE, Streets

from artoolkit.errors import RecipeError
from artoolkit.losses import TERMS
from artoolkit.report.curves import run_part
from artoolkit.report.figures import curves_figure
from artoolkit.training.assembly import build_network
from artoolkit.training.recipe import Recipe
from artoolkit.training.run import start
from artoolkit.training.terms import build_objective

Make = Callable[..., Recipe]

PACKAGE = '''
import numpy as np
from artoolkit.losses import TERMS, Term

def upper_edges(labels):
    return np.pad(np.diff(labels.astype(int), axis=0) != 0, ((1, 0), (0, 0)))

def steep(step, output, *, power: float = 1.0):
    """Mean of the losses of pixels below an edge."""
    losses = step.pixel_losses(output) ** power * step.maps["upper_edges"]
    return losses.sum(), step.maps["upper_edges"].sum()

TERMS["steep"] = Term(function=steep, maps={"upper_edges": upper_edges})
'''


@pytest.fixture
def steep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The package above, imported."""
    (tmp_path / "steep_terms.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.import_module("steep_terms")
    yield
    del TERMS["steep"]


@pytest.mark.usefixtures("steep")
def test_a_term_of_another_package_trains_and_is_logged_and_plotted(
    tiny: Make, streets: Streets, tmp_path: Path
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    schedule = {"schedule.epochs": 1, "schedule.batch_size": 3}
    term = {"loss.terms": {"steep": {"weight": 3.0, "options": {"power": 2.0}}}}
    start(tiny(schedule), streets, tmp_path / "without")
    start(tiny(schedule | term), streets, tmp_path / "with")
    rows = {
        name: [
            row
            for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()
            if (row := json.loads(line))["kind"] == "iteration"
        ]
        for name in ("without", "with")
    }
    assert len(rows["with"]) == 2
    # The first step sees the same network: the loss is more by the term, three times.
    before, after = rows["without"][0], rows["with"][0]
    assert after["steep"] > 0
    assert after["loss"] == pytest.approx(before["loss"] + 3 * after["steep"], rel=1e-5)
    assert rows["with"][1]["cross_entropy"] != rows["without"][1]["cross_entropy"]
    events = EventAccumulator(str(tmp_path / "with")).Reload()
    drawn = [event.value for event in events.Scalars("iteration/steep")]
    assert drawn == pytest.approx([row["steep"] for row in rows["with"]])
    part = run_part(tmp_path / "with")
    assert part.curves["steep"].values == tuple(row["steep"] for row in rows["with"])
    figure = curves_figure([part, run_part(tmp_path / "without")])
    column = figure.head.index("steep")
    assert [row[column] for row in figure.rows] == [f"{drawn[-1]:.4g}", "-"]
    assert len(figure.panels) == len(figure.head) - 1


def test_the_term_of_the_docs_is_one(tiny: Make) -> None:
    page = (Path(__file__).parents[2] / "docs" / "your-network.md").read_text(encoding="utf-8")
    section = page.split("## Terms of your own")[1].split("##")[0]
    code, recipe = re.findall(r"\n\n((?:    [^\n]*\n|\n)+)\S", section)
    try:
        exec(dedent(code), {})
        changes = tomlkit.parse(dedent(recipe)).unwrap()["loss"]["terms"]
        network = build_network(tiny(), TABLE, seed=1)
        objective = build_objective(tiny({"loss.terms": changes, "loss.aux_weights": {}}), network)
        assert objective.weights == {"cross_entropy": 1.0, "fine_rows": 0.5}
        terms = objective({"main": torch.zeros(1, 3, 8, 8)}, torch.zeros(1, 16, 16).long())
        assert terms["fine_rows"].item() == pytest.approx(math.log(3) ** 2)
    finally:
        del TERMS["fine_rows"]


def test_the_recipe_and_the_network_say_which_terms_there_are(tiny: Make) -> None:
    network = build_network(tiny(), TABLE, seed=1)
    own = build_objective(tiny({"loss.ar_weight": 0.1}), network)
    assert own.weights == {
        "cross_entropy": 1.0, "aux_16": 0.16, "aux_8": 0.4, "affinity_regression": 0.1
    }  # fmt: skip
    other = build_objective(tiny({"loss.aux_weights": {"aux_8": 1.0}}), network)
    assert other.weights == {"cross_entropy": 1.0, "aux_8": 1.0}
    assert other.align_corners == network.align_corners
    hard = {"ohem": {"threshold": 0.9, "min_kept": 5}}
    network.terms = {"second": {"kind": "cross_entropy", "output": "aux_8", "options": hard}}
    changed = tiny({
        "loss.ohem": {"threshold": 0.6},
        "loss.terms": {
            "aux_16": {"weight": 0.0},
            "second": {"weight": 2.0, "options": {"mean_over": "all"}},
            "every_pair": {"kind": "affinity_regression", "output": "aux_8",
                           "options": {"points": {"grid": "all"}}},
        },
    })  # fmt: skip
    objective = build_objective(changed, network)
    assert objective.weights == {
        "cross_entropy": 1.0, "aux_8": 0.4, "second": 2.0, "every_pair": 1.0
    }  # fmt: skip
    ohem = {n: t.options["ohem"].threshold for n, t in objective.terms.items() if n != "every_pair"}
    assert ohem == {"cross_entropy": 0.6, "aux_8": 0.6, "second": 0.9}
    assert objective.terms["second"].options["mean_over"] == "all"
    points = objective.terms["every_pair"].options["points"]
    assert (points.grid, points.align_corners) == ("all", network.align_corners)
    # An option of a term that the recipe has already is changed alone.
    both = tiny({
        "loss.ar_weight": 1.0, "loss.ar_grid": "all",
        "loss.terms": {"affinity_regression": {"options": {"points": {"include_self": False}}}},
    })  # fmt: skip
    points = build_objective(both, network).terms["affinity_regression"].options["points"]
    assert (points.grid, points.include_self) == ("all", False)
    outputs = {name: torch.randn(2, 3, 8, 8) for name in ("main", "aux_8")}
    terms = objective(outputs, torch.randint(0, 3, (2, 32, 32)))
    assert list(terms) == list(objective.weights)


def test_all_terms_that_do_not_fit_are_named_at_once(tiny: Make) -> None:
    network = build_network(tiny(), TABLE, seed=1)
    terms = {
        "boundry": {"weight": 1.0},
        "step_s": {"kind": "cross_entropy"},
        "edge": {"kind": "cross_entropy", "output": "edges"},
        "cross_entropy": {"options": {"ohem": {"threshold": 2.0}, "smooth": 0.1}},
    }
    with pytest.raises(RecipeError) as caught:
        build_objective(tiny({"loss.terms": terms, "loss.class_weights": [1, 2]}), network)
    line = str(caught.value)
    for part in ("'boundry'", "terms.step_s", "terms.edge: icnet has no output edges", "smooth",
                 "0 < threshold <= 1", "one weight per class: got 2; expected 3"):  # fmt: skip
        assert part in line
