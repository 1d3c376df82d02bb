"""Parts and the whole of an evaluation, and the same mIoU as cityscapesScripts from files."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

import evaluation
import numpy as np
import pytest
from evaluation import CLOCKS, NOISE, OFFICIAL, OURS, PARTS, WHOLE
from result_file import RESULTS
from tiny import HEIGHT, WIDTH, write_tiny

from artoolkit.backends.onnxruntime.runner import open_onnxruntime
from artoolkit.backends.runner import Runner
from artoolkit.data import DataSet, open_dataset
from artoolkit.data.synthetic import synthesize
from artoolkit.errors import MissingLibraryError


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    root = tmp_path_factory.mktemp("streets")
    synthesize(root, train=1, val=3, size_hw=(64, 128))
    return open_dataset("cityscapes", root)


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    with open_onnxruntime(write_tiny(tmp_path / "tiny.onnx"), threads=1) as runner:
        yield runner


def test_generated_streets_have_the_asked_size_and_number() -> None:
    with evaluation.streets(None, 2, (32, 64)) as generated:
        samples = generated.samples("val")
        assert [generated.read_image(s).shape for s in samples] == [(32, 64, 3)] * 2


def test_a_data_set_at_hand_is_taken(data: DataSet) -> None:
    with evaluation.streets(data.root, 1, (32, 64)) as found:
        assert found.samples("val") == data.samples("val")
        first = evaluation.FirstOf(found, 2)
        assert first.samples("val") == data.samples("val")[:2]
        assert first.labels == data.labels


def test_every_part_and_the_whole_are_timed_each_round(data: DataSet, runner: Runner) -> None:
    found = evaluation.cost(data, "val", runner, rounds=2)
    assert (found["images"], found["imgsz"]) == (3, (HEIGHT, WIDTH))
    assert set(found["seconds"]) == {*PARTS, NOISE, WHOLE}
    for spent in found["seconds"].values():
        assert {clock: len(times) for clock, times in spent.items()} == dict.fromkeys(CLOCKS, 2)
        assert min(spent["wall_s"]) > 0


def test_the_timed_evaluation_is_that_of_the_command(data: DataSet, runner: Runner) -> None:
    record = evaluation.evaluated(data, "val", runner)
    assert len(record.images) == 3
    assert record.metrics["mIoU"] is not None


def test_both_evaluations_judge_the_same_files_alike(data: DataSet) -> None:
    found = evaluation.beside_official(data, "val", rounds=1)
    assert found["imgsz"] == (64, 128)
    assert 10 < found["mIoU"][OURS] < 100
    assert found["mIoU"][OURS] == pytest.approx(found["mIoU"][OFFICIAL], abs=1e-9)


def test_without_cityscapes_scripts_the_case_says_so(
    data: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = "cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling"
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingLibraryError, match="pip install cityscapesscripts"):
        evaluation.beside_official(data, "val", rounds=1)


def spent(*wall: float) -> dict[str, list[float]]:
    return {"wall_s": list(wall), "cpu_s": [2 * s for s in wall]}


def test_the_table_shows_medians_and_ratios_within_a_round() -> None:
    times = {
        "image": spent(0.06, 0.06), "label": spent(0.02, 0.04), "inference": spent(0.2, 0.2),
        "metric": spent(0.005, 0.01), NOISE: spent(0.01, 0.01), WHOLE: spent(0.14, 0.15),
    }  # fmt: skip
    official = {OFFICIAL: spent(0.06, 0.06), OURS: spent(0.03, 0.02)}
    miou = {OFFICIAL: 85.08899, OURS: 85.08899}
    lines = evaluation.table(
        {
            "parts": {"imgsz": [2, 4], "seconds": times},
            "official": {"imgsz": [2, 4], "seconds": official, "mIoU": miou},
        }
    )
    assert "| decoding the label | 30.0 | 60.0 |" in lines
    assert "| `evaluate` / (decoding + inference) | 0.50 | 0.50 |" in lines
    assert "| metric / decoding the label | 0.25 | 0.25 |" in lines
    assert "| artoolkit | 25.0 | 50.0 | 85.0890 |" in lines
    assert lines[-1] == "| cityscapesScripts / artoolkit | 2.50 | 2.50 | |"


def test_a_case_that_is_missing_is_left_out() -> None:
    assert evaluation.table({"official": {"unavailable": "not installed"}}) == []


@pytest.mark.parametrize("path", sorted(RESULTS.glob("evaluation--*.json")), ids=lambda p: p.name)
def test_the_committed_times_hold_what_is_promised(path: Path) -> None:
    raw = json.loads(path.read_text())["raw"]
    seconds = {name: times["wall_s"] for name, times in raw["parts"]["seconds"].items()}
    floor = np.sum([seconds[name] for name in PARTS[:3]], axis=0)
    assert statistics.median(np.array(seconds[WHOLE]) / floor) <= 1.05
    assert statistics.median(np.divide(seconds["metric"], seconds["label"])) < 1
    assert raw["official"]["mIoU"][OURS] == pytest.approx(raw["official"]["mIoU"][OFFICIAL])
