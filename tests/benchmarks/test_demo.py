"""The example report, README's picture and table are of one run, of this code and this baseline."""

from __future__ import annotations

import re
from pathlib import Path

import demo
import pytest
import result_file
from PIL import Image

from artoolkit.checks.registry import CHECKS
from artoolkit.cli.quickstart import BASELINE, IMGSZ
from artoolkit.deploy.onnx import graph_from_checkpoint
from artoolkit.evidence.records import read_record
from artoolkit.networks.loading import load
from artoolkit.networks.sources import source_named
from artoolkit.report import page
from artoolkit.targets import find_target
from artoolkit.training.recipe import Recipe, load_recipe

RESULT = result_file.result_path("demo", machine="x86-2core", device="cpu")
REMAKE = "python benchmarks/demo.py --again makes them anew"


@pytest.fixture(scope="module")
def shown() -> dict[str, object]:
    """The run that README.md and docs/ show."""
    if not RESULT.exists():
        pytest.skip("python benchmarks/demo.py was not run on this code yet")
    raw = read_record(RESULT, result_file.ResultFile).raw
    run: dict[str, object] = raw[demo.shown(raw)]
    return run


def test_report_and_picture_are_of_the_run_in_the_table(shown: dict[str, object]) -> None:
    sha256 = str(shown["verdict_sha256"])
    assert sha256 in demo.REPORT.read_text(), REMAKE
    with Image.open(demo.PICTURE) as picture:
        assert picture.info["verdict"] == sha256, REMAKE


@pytest.mark.usefixtures("shown")
def test_the_run_started_from_the_baseline_that_is_shipped() -> None:
    digest = source_named(BASELINE).hash
    assert digest is not None
    assert digest in demo.REPORT.read_text(), REMAKE


def test_the_checks_and_the_graph_are_those_of_today(shown: dict[str, object]) -> None:
    checks = {check["name"]: check for check in shown["checks"]}  # type: ignore[attr-defined]
    assert list(checks) == [kind.name for kind in CHECKS], REMAKE
    target = find_target("cpu", imgsz=(int(IMGSZ[0]), int(IMGSZ[1])))
    model, _ = graph_from_checkpoint(load(BASELINE), target)
    assert f"{len(model.graph.node)} nodes" in checks["graph"]["headline"], REMAKE


@pytest.mark.usefixtures("shown")
def test_the_page_has_the_style_of_today() -> None:
    template = Path(page.__file__).parent / "templates" / "report.html.j2"
    today, shown = (
        re.findall(r"<style>.*?</style>", path.read_text(), re.DOTALL)
        for path in (template, demo.REPORT)
    )
    assert today == shown, REMAKE


def test_the_shipped_baseline_is_small_and_of_its_recipe() -> None:
    source = source_named(BASELINE)
    source.verify(source.packaged())
    assert source.packaged().stat().st_size < 2e6
    made = Recipe.model_validate(load(BASELINE).meta.recipe)
    assert made == load_recipe("quickstart"), "python benchmarks/street_baseline.py makes it anew"
