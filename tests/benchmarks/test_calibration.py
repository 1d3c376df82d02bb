"""The committed calibration, and that its error rates hold on a reduced number of runs."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper
from scipy import stats
from simulation import NOISES, Noise, simulated_accuracy

from artoolkit.metrics import mean_iou

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
MOST_FALSE_PASSES = 0.065


@pytest.fixture(scope="module")
def calibration() -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        spec = importlib.util.spec_from_file_location("calibration", BENCHMARKS / "calibration.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(BENCHMARKS))
    return module


@pytest.mark.slow
@pytest.mark.parametrize("noise", NOISES)
def test_a_delay_at_the_margin_hardly_ever_passes(calibration: ModuleType, noise: Noise) -> None:
    runs = [calibration.latency_run(noise, 2.0, seed) for seed in range(40)]
    passed = sum(run["result"] == "PASS" for run in runs)
    # Of 40 runs at 6.5 % more than 6 pass with a probability below 2 %.
    assert passed <= 6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("delay", "right", "wrong"), [(0.0, "PASS", "FAIL"), (5.0, "FAIL", "PASS")]
)
@pytest.mark.parametrize("noise", NOISES)
def test_clear_cases_are_decided_as_often_as_committed_and_never_wrong(
    calibration: ModuleType, noise: Noise, delay: float, right: str, wrong: str
) -> None:
    count = 16
    results = Counter(
        calibration.latency_run(noise, delay, 1000 + seed)["result"] for seed in range(count)
    )
    known = [
        run["result"]
        for run in committed(calibration, "latency")
        if (run["noise"], run["delay_percent"]) == (noise, delay)
    ]
    share = known.count(right) / len(known)
    assert results[wrong] == known.count(wrong) == 0
    # So few, or fewer, right answers of 16 would come in one test of a thousand: the exact binomial
    # tail, since a normal one has no meaning at shares so near to 1.
    assert stats.binom.cdf(results[right], count, share) >= 0.001


def test_a_loss_of_the_margin_hardly_ever_passes(calibration: ModuleType) -> None:
    runs = [calibration.accuracy_run(60, -0.5, seed) for seed in range(60)]
    passed = sum(run["reading"] in ("better", "not worse") for run in runs)
    assert passed <= 8


@pytest.mark.parametrize("difference", [0.0, -0.5])
def test_the_simulated_difference_is_the_true_one(difference: float) -> None:
    baseline, candidate = simulated_accuracy(30_000, difference, classes=11, seed=5)
    found = 100 * (mean_iou(candidate.sum(0)) - mean_iou(baseline.sum(0)))
    assert found == pytest.approx(difference, abs=0.05)
    assert np.array_equal(baseline.sum(2), candidate.sum(2))


def committed(calibration: ModuleType, name: str) -> list[dict[str, object]]:
    (path,) = calibration.RESULTS.glob(f"calibration-{name}--*.json")
    return list(calibration.load(path)[1])


@pytest.mark.parametrize("noise", NOISES)
def test_committed_false_passes_of_latency(calibration: ModuleType, noise: Noise) -> None:
    runs = [
        run
        for run in committed(calibration, "latency")
        if (run["noise"], run["delay_percent"]) == (noise, 2.0)
    ]
    assert len(runs) >= 1000
    assert sum(run["result"] == "PASS" for run in runs) <= MOST_FALSE_PASSES * len(runs)


def test_committed_false_passes_of_accuracy(calibration: ModuleType) -> None:
    for images in calibration.IMAGES:
        runs = [
            run
            for run in committed(calibration, "accuracy")
            if (run["images"], run["true_difference_points"]) == (images, -0.5)
        ]
        assert len(runs) >= 1000
        passed = sum(run["reading"] in ("better", "not worse") for run in runs)
        assert passed <= MOST_FALSE_PASSES * len(runs)


def test_a_committed_run_can_be_made_again(calibration: ModuleType) -> None:
    run = next(run for run in committed(calibration, "latency") if run["delay_percent"] == 2.0)
    again = calibration.latency_run(run["noise"], run["delay_percent"], run["seed"])
    assert again == run


def small_model(folder: Path) -> Path:
    """Convolutions of about a millisecond: what `DelayedRunner` itself costs vanishes in it."""
    shape = [1, 32, 64, 96]
    weights = np.random.default_rng(0).normal(0, 0.05, (32, 32, 3, 3)).astype(np.float32)
    names = ["image", "a", "b", "scores"]
    nodes = [
        helper.make_node("Conv", [source, "weights"], [target], pads=[1, 1, 1, 1])
        for source, target in pairwise(names)
    ]
    ends = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in (names[0], names[-1])
    ]
    graph = helper.make_graph(
        nodes, "small", ends[:1], ends[1:], [numpy_helper.from_array(weights, "weights")]
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / "small.onnx")
    return folder / "small.onnx"


@pytest.mark.slow
def test_a_real_delay_never_passes_and_equal_files_hardly_ever_fail(
    calibration: ModuleType, tmp_path: Path
) -> None:
    """The timings of the page on few runs, whatever else this machine does."""
    model = small_model(tmp_path)
    runs = [
        calibration.timing_run(model, delay, seed, 1, 6.0) for seed in range(2) for delay in (0, 10)
    ]
    results = Counter((run["delay_percent"], run["result"]) for run in runs)
    assert results[10, "PASS"] == 0
    assert results[0, "FAIL"] < 2
    # The budget holds, opening and warm-up come on top.
    assert all(run["wall_s"] < 20 for run in runs)


def test_timings_go_on_where_they_stopped(
    calibration: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, float, int]] = []
    seconds = {"1 ms": 2.0, "25 ms": 4.0, "300 ms": 4.0}
    clock = [0.0]

    def quick(name: Path, delay: float, seed: int, _threads: int, _budget: float) -> dict:
        asked.append((str(name), delay, seed))
        clock[0] += 30.0
        row = calibration.latency_run("normal", delay, seed)
        return row | {"wall_s": seconds[str(name)], "median_ms": 1.0}

    monkeypatch.setattr(calibration, "RESULTS", tmp_path)
    monkeypatch.setattr(sys.modules["result_file"], "RESULTS", tmp_path)
    monkeypatch.setattr(calibration, "timing_run", quick)
    monkeypatch.setattr(calibration, "models", lambda _folder: {name: name for name in seconds})
    monkeypatch.setattr(calibration.time, "monotonic", lambda: clock[0])
    command = ["timings", "--machine", "m", "--minutes"]
    for _ in range(2):
        result = CliRunner().invoke(calibration.main, [*command, "2"])
        assert result.exit_code == 0, result.output
    # As much time for each: two runs of the quickest for one of the others.
    assert asked == [
        ("1 ms", 0.0, 0), ("25 ms", 0.0, 0), ("300 ms", 0.0, 0), ("1 ms", 5.0, 0),
        ("1 ms", 0.0, 1), ("25 ms", 5.0, 0), ("300 ms", 5.0, 0), ("1 ms", 5.0, 1),
    ]  # fmt: skip
    (path,) = tmp_path.glob("calibration-timings--*.json")
    assert len(calibration.load(path)[1]) == 8
    other = CliRunner().invoke(calibration.main, [*command, "2", "--threads", "2"])
    assert other.exit_code == 2
    assert "holds runs with threads 1, not 2" in other.output


def test_networks_of_the_timings_are_the_same_every_time(
    calibration: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "NETWORKS", {"a": ("icnet", {"width": 0.05}, (32, 64))})
    made = [calibration.models(tmp_path)["a"].read_bytes() for _ in range(2)]
    assert made[0] == made[1]


def test_committed_timings_are_right(calibration: ModuleType) -> None:
    paths = list(calibration.RESULTS.glob("calibration-timings--*.json"))
    assert paths
    for path in paths:
        runs = calibration.load(path)[1]
        results = Counter((run["delay_percent"], run["result"]) for run in runs)
        delayed = sum(r["delay_percent"] == 5 for r in runs)
        same = sum(r["delay_percent"] == 0 for r in runs)
        assert min(same, delayed) >= 10, path.name
        # Opening and warming up come on top of the budget of 45 s.
        assert max(run["wall_s"] for run in runs) <= 75
        assert results[5, "PASS"] == 0
        assert calibration._wilson(results[0, "FAIL"], same)[0] <= 5, "shown to be above the limit"
        assert results[5, "FAIL"] >= 0.5 * delayed
        assert results[0, "PASS"] >= 0.5 * same


def test_rates_have_wilsons_interval(calibration: ModuleType) -> None:
    assert calibration._rate(5, 100) == "5.0 % (2.2 to 11.2)"
    assert calibration._rate(0, 10) == "0.0 % (0.0 to 27.8)"
