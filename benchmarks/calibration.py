"""Rates of wrong verdicts, counted on simulated machines and data, where the truth is known.

    python benchmarks/calibration.py latency  --runs 1000
    python benchmarks/calibration.py accuracy --runs 1000
    python benchmarks/calibration.py timings  --machine x86-2core --minutes 10

Each writes `results/calibration-*.json` with every single run in it; `tables.py` makes the tables
of `calibration.md` from those files. `timings` measures networks of about 1, 25 and 300 ms against
themselves, and against themselves with a known delay that is waited out after each inference.
Stopped, or out of minutes, it goes on; `--again` begins anew.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, get_args

import click
import numpy as np
from numpy.typing import NDArray
from result_file import RESULTS, write_result
from simulation import (
    NOISES,
    Noise,
    SimulatedMachine,
    SimulatedRunner,
    simulated_accuracy,
)

from artoolkit.backends.onnxruntime.runner import open_onnxruntime
from artoolkit.backends.runner import Feeds
from artoolkit.checks.kind import Terms
from artoolkit.checks.latency import LATENCY, read_latency
from artoolkit.cost.latency import measure_latency
from artoolkit.cost.latency_record import LatencyMeasurement, LatencySettings, Phase
from artoolkit.cost.opening import seeded_feeds
from artoolkit.deploy.onnx import onnx_from_checkpoint
from artoolkit.deploy.untrained import untrained_checkpoint
from artoolkit.evaluation.bootstrap import read_non_inferiority
from artoolkit.spec import RunnerSpec
from artoolkit.statistics import student_interval
from artoolkit.targets import find_target

DELAYS = (0.0, 1.0, 2.0, 5.0)
DIFFERENCES = (0.0, -0.25, -0.5, -1.0)
IMAGES = (30, 100, 500)
LATENCY_MS = 10.0
CLASSES = 11
TIMINGS_SUITE, DEVICE = "calibration-timings", "onnxruntime-cpu"
# Name, options and size that take about so long on one core of a server.
NETWORKS: dict[str, tuple[str, dict[str, Any], tuple[int, int]]] = {
    "1 ms": ("icnet_r18", {"width": 0.125}, (104, 208)),
    "25 ms": ("icnet", {}, (224, 448)),
    "300 ms": ("icnet", {}, (704, 1408)),
}
RESAMPLES = 2000


def latency_run(noise: Noise, delay_percent: float, seed: int) -> dict[str, Any]:
    """One simulated comparison with the default plan: its answer and the interval it rests on."""
    machine = SimulatedMachine(noise, seed)
    slow_ms = LATENCY_MS * (1 + delay_percent / 100)
    record = measure_latency(
        lambda: SimulatedRunner(machine, LATENCY_MS),
        lambda: SimulatedRunner(machine, slow_ms),
        images=[np.zeros((1, 1, 1, 3), np.uint8)],
        machine=machine,
        clock=machine.clock,
    )
    return _latency_row(record, noise=noise, delay_percent=delay_percent, seed=seed)


def _latency_row(record: Any, **known: Any) -> dict[str, Any]:
    check = LATENCY.judge({"latency.json": record}, Terms())
    reading = read_latency(record, margin_percent=record.plan.margin_percent)
    d = reading.quick.difference_percent
    return known | {
        "result": check.result,
        "control": reading.control.reading,
        "reading": reading.quick.reading,
        "tail": reading.tail.reading if reading.tail else None,
        "result_by_median": _by_median(record),
        "difference_percent": [round(value, 4) for value in (d.low, d.estimate, d.high)],
        "pairs": [reading.control.pairs, reading.quick.pairs],
        "disturbed_blocks": [reading.disturbed_blocks, reading.blocks],
    }


def _by_median(record: LatencyMeasurement) -> str:
    """The answer that the same blocks give by Student's interval of their medians."""
    limit = math.log1p(record.plan.margin_percent / 100)
    reach = {}
    for phase in get_args(Phase):
        pairs = zip(record.arm(phase, "A"), record.arm(phase, "B"), strict=True)
        ratios = [math.log(after.median_ms / before.median_ms) for before, after in pairs]
        reach[phase] = student_interval(ratios, 0.90)
    control, test = reach["control"], reach["test"]
    if not -limit < control.low <= control.high < limit:
        return "UNDECIDED"
    return "PASS" if test.high < limit else "FAIL" if test.low > limit else "UNDECIDED"


def accuracy_run(images: int, difference_points: float, seed: int) -> dict[str, Any]:
    """One simulated data set, two networks whose mIoU truly differs by `difference_points`."""
    baseline, candidate = simulated_accuracy(images, difference_points, classes=CLASSES, seed=seed)
    found = read_non_inferiority(
        baseline,
        candidate,
        names=[f"class {index}" for index in range(CLASSES)],
        margin_points=0.5,
        resamples=RESAMPLES,
        seed=seed,
    )
    d = found.difference_points
    return {
        "images": images,
        "true_difference_points": difference_points,
        "seed": seed,
        "reading": found.reading,
        "difference_points": [round(value, 4) for value in (d.low, d.estimate, d.high)],
    }


class DelayedRunner:
    """A real runner that takes a given share longer, by waiting after each inference."""

    def __init__(self, inner: Any, delay_percent: float) -> None:
        self.inner, self.share = inner, delay_percent / 100
        self.spec: RunnerSpec = inner.spec

    def infer(self, batch: Feeds, /) -> dict[str, NDArray[Any]]:
        start = time.perf_counter()
        outputs: dict[str, NDArray[Any]] = self.inner.infer(batch)
        now = time.perf_counter()
        until = now + self.share * (now - start)
        while time.perf_counter() < until:
            pass
        return outputs

    def close(self) -> None:
        self.inner.close()


def timing_run(
    model: Path, delay_percent: float, seed: int, threads: int, budget_s: float
) -> dict[str, Any]:
    """One real comparison of a file with itself, delayed."""

    def opener() -> Any:
        return open_onnxruntime(model, threads=threads)

    probe = opener()
    feeds = [seeded_feeds(probe.spec, np.random.default_rng(seed)) for _ in range(4)]
    probe.close()
    start = time.perf_counter()
    record = measure_latency(
        opener,
        lambda: DelayedRunner(opener(), delay_percent),
        images=feeds,
        plan=LatencySettings(budget_s=budget_s),
    )
    wall_s = time.perf_counter() - start
    row = _latency_row(record, delay_percent=delay_percent, seed=seed)
    reading = read_latency(record, margin_percent=record.plan.margin_percent)
    return row | {"wall_s": round(wall_s, 2), "median_ms": round(reading.median_ms[0], 4)}


def save(
    suite: str, runs: Sequence[dict[str, Any]], *, machine: str, device: str,
    settings: dict[str, Any],
) -> Path:  # fmt: skip
    """Write every run as one line of comma-separated JSON values, in the order of `columns`."""
    rows = [json.dumps(list(run.values()))[1:-1] for run in runs]
    raw = {"columns": list(runs[0]), "rows": rows}
    return write_result(suite, machine=machine, device=device, settings=settings, raw=raw)


def load(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The file's values and its runs."""
    result = json.loads(path.read_text())
    return result, decoded(result["raw"])


def decoded(raw: dict[str, Any]) -> list[dict[str, Any]]:
    """Runs, read back from the form that `save` gives them."""
    rows = (json.loads(f"[{row}]") for row in raw["rows"])
    return [dict(zip(raw["columns"], row, strict=True)) for row in rows]


def _groups(
    runs: Sequence[dict[str, Any]], *keys: str
) -> Iterator[tuple[tuple[Any, ...], list[dict[str, Any]]]]:
    places = dict.fromkeys(tuple(run[key] for key in keys) for run in runs)
    for place in places:
        yield place, [run for run in runs if tuple(run[key] for key in keys) == place]


def _wilson(count: int, total: int) -> tuple[float, float]:
    """The 95 % Wilson interval of a share, in percent."""
    z, share = 1.96, count / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * np.sqrt(share * (1 - share) / total + z * z / (4 * total**2))
    return 100 * max(0.0, middle - half), 100 * min(1.0, middle + half)


def _rate(count: int, total: int) -> str:
    """`4.1 % (3.0 to 5.5)`: the share with its 95 % Wilson interval."""
    low, high = _wilson(count, total)
    return f"{100 * count / total:.1f} % ({low:.1f} to {high:.1f})"


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def latency_table(runs: Sequence[dict[str, Any]], first: str = "noise") -> str:
    """Rates of the answers for each noise and true delay."""
    rows = []
    groups = list(dict.fromkeys(run[first] for run in runs))
    ranked = sorted(runs, key=lambda run: (groups.index(run[first]), run["delay_percent"]))
    for (group, delay), found in _groups(ranked, first, "delay_percent"):
        count = Counter(run["result"] for run in found)
        rates = [_rate(count[result], len(found)) for result in ("PASS", "FAIL", "UNDECIDED")]
        pairs = np.median([run["pairs"][1] for run in found])
        before = "not counted"
        if "result_by_median" in found[0]:
            before = _rate(sum(r["result_by_median"] == "UNDECIDED" for r in found), len(found))
        rows.append([group, f"{delay:g} %", len(found), *rates, before, f"{pairs:.0f}"])
    head = [first, "true delay", "runs", "PASS", "FAIL", "UNDECIDED", "UNDECIDED by medians",
            "median pairs"]  # fmt: skip
    return _table(head, rows)


def accuracy_table(runs: Sequence[dict[str, Any]]) -> str:
    """Rates of the readings for each number of images and true difference."""
    rows = []
    for (images, true), found in _groups(runs, "images", "true_difference_points"):
        count = Counter(run["reading"] for run in found)
        passed = count["better"] + count["not worse"]
        rates = [_rate(n, len(found)) for n in (passed, count["worse"], count["undecided"])]
        covered = sum(
            run["difference_points"][0] <= true <= run["difference_points"][2] for run in found
        )
        rows.append([images, f"{true:+g}", len(found), *rates, _rate(covered, len(found))])
    head = ["images", "true difference", "runs", "PASS", "FAIL", "UNDECIDED", "interval covers"]
    return _table(head, rows)


def simulated_latency(raw: dict[str, Any]) -> list[str]:
    """Markdown of the simulated machines."""
    return latency_table(decoded(raw)).splitlines()


def simulated_accuracy_table(raw: dict[str, Any]) -> list[str]:
    """Markdown of the simulated data sets."""
    return accuracy_table(decoded(raw)).splitlines()


def timed(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The runs of a real machine; a file of one network names it in its settings."""
    name = {"network": result["settings"].get("network")}
    return [name | run for run in decoded(result["raw"])]


def real_latency(result: dict[str, Any]) -> list[str]:
    """Markdown of a real machine: the networks, the machine, the rates."""
    settings, environment, runs = result["settings"], result["environment"], timed(result)
    medians = "; ".join(
        f"{name}: median {np.median([run['median_ms'] for run in found]):.1f} ms, "
        f"{np.median([run['wall_s'] for run in found]):.0f} s a run"
        for (name,), found in _groups(runs, "network")
    )
    old = (
        ""
        if "result_by_median" in runs[0]
        else (
            " Judged by the block medians, as latency was before the 10th percentile decided; "
            "not made again since."
        )
    )
    words = (
        f"{settings['threads']} thread(s), {environment['processor']}, "
        f"{environment['cores']} cores. {medians}. {settings['load']}{old}"
    )
    return [words, "", *latency_table(runs, "network").splitlines()]


def table(result: dict[str, Any]) -> list[str]:
    """Markdown: how often each answer was given on a real machine, a row a network and delay."""
    runs = sorted(timed(result), key=lambda run: run["delay_percent"])
    rows = []
    for (name, delay), found in _groups(runs, "network", "delay_percent"):
        count = Counter(run["result"] for run in found)
        answers = [count[answer] for answer in ("PASS", "UNDECIDED", "FAIL")]
        longest = max(run["wall_s"] for run in found)
        rows.append([name, f"{delay:g} %", len(found), *answers, f"{longest:.0f} s"])
    head = ["network", "slower by", "runs", "PASS", "UNDECIDED", "FAIL", "longest run"]
    return _table(head, rows).splitlines()


@click.group()
def main() -> None:
    """Calibrate the verdicts."""


@main.command()
@click.option("--runs", default=1000, show_default=True, help="At the margin; a fifth elsewhere.")
def latency(runs: int) -> None:
    """Simulated machines: normal, heavy-tailed, bursty and shared noise."""
    jobs = [
        (noise, delay, seed)
        for noise in NOISES
        for delay in DELAYS
        for seed in range(runs if delay == LatencySettings().margin_percent else max(1, runs // 5))
    ]
    # Simulated time is the same on a busy machine.
    with ProcessPoolExecutor() as pool, click.progressbar(length=len(jobs)) as bar:
        found = []
        for run in pool.map(latency_run, *zip(*jobs, strict=True), chunksize=10):
            found.append(run)
            bar.update(1)
    settings = {"latency_ms": LATENCY_MS, "plan": LatencySettings().model_dump(mode="json")}
    save("calibration-latency", found, machine="simulated", device="clock", settings=settings)
    click.echo(latency_table(found))


@main.command()
@click.option("--runs", default=1000, show_default=True)
def accuracy(runs: int) -> None:
    """Simulated data sets: 30, 100 and 500 images."""
    found = [
        accuracy_run(images, difference, seed)
        for images in IMAGES
        for difference in DIFFERENCES
        for seed in range(runs if difference == -0.5 else max(1, runs // 5))
    ]
    settings = {"classes": CLASSES, "margin_points": 0.5, "resamples": RESAMPLES}
    save("calibration-accuracy", found, machine="simulated", device="counts", settings=settings)
    click.echo(accuracy_table(found))


def models(folder: Path) -> dict[str, Path]:
    """The networks as ONNX files, with random weights that are the same every time."""
    found = {}
    for name, (network, options, size) in NETWORKS.items():
        found[name] = folder / f"{size[0]}x{size[1]}.onnx"
        checkpoint = untrained_checkpoint(network, CLASSES, options=options)
        onnx_from_checkpoint(checkpoint, find_target("cpu", imgsz=size), found[name])
    return found


def next_run(runs: Sequence[dict[str, Any]], delays: Sequence[float]) -> tuple[str, float, int]:
    """Network, delay and seed: every network gets as much time, every delay as many runs."""
    spent = dict.fromkeys(NETWORKS, 0.0)
    for run in runs:
        spent[run["network"]] += run["wall_s"]
    name = min(spent, key=lambda one: spent[one])
    number = sum(run["network"] == name for run in runs)
    return name, delays[number % len(delays)], number // len(delays)


@main.command()
@click.option("--machine", required=True, help="Short name of the machine, for the file.")
@click.option("--minutes", default=10.0, show_default=True, help="No run begins after them.")
@click.option("--delays", default="0,5", show_default=True, help="In percent.")
@click.option("--threads", default=1, show_default=True)
@click.option("--budget-s", default=LatencySettings().budget_s, show_default=True)
@click.option("--load", default="Nothing else ran.", show_default=True, help="For the page.")
@click.option("--again", is_flag=True, help="Begin anew.")
def timings(
    *,
    machine: str,
    minutes: float,
    delays: str,
    threads: int,
    budget_s: float,
    load: str,
    again: bool,
) -> None:
    """Networks against themselves and against themselves delayed.

    Written after every run: the same command goes on where it stopped.
    """
    settings = {"networks": list(NETWORKS), "threads": threads, "budget_s": budget_s, "load": load}
    found = [] if again else runs_before(machine, settings)
    end = time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory(prefix="artoolkit-calibration-") as folder:
        files = models(Path(folder))
        while time.monotonic() < end:
            name, delay, seed = next_run(found, [float(one) for one in delays.split(",")])
            run = timing_run(files[name], delay, seed, threads, budget_s)
            found.append({"network": name, **run})
            save(TIMINGS_SUITE, found, machine=machine, device=DEVICE, settings=settings)
            click.echo(json.dumps(found[-1]))
    click.echo(latency_table(found, "network"))


def runs_before(machine: str, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """The runs of an earlier, stopped command; `UsageError` where it measured something else."""
    path = RESULTS / f"{TIMINGS_SUITE}--{machine}--{DEVICE}.json"
    if not path.is_file():
        return []
    result, runs = load(path)
    before = result["settings"]
    for key, value in settings.items():
        if key != "load" and before.get(key) != value:
            raise click.UsageError(
                f"{path.name} holds runs with {key} {before.get(key)!r}, not {value!r}: "
                "begin anew with --again, or choose another --machine"
            )
    return runs


if __name__ == "__main__":
    main()
