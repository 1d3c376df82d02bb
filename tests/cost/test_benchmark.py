"""One network's latency: durations, percentiles, trtexec's keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from simulation import SimulatedMachine, SimulatedRunner

from artoolkit.cost.benchmark import BenchmarkMeasurement, BenchmarkSettings, measure_benchmark
from artoolkit.evidence.records import read_record
from artoolkit.evidence.verdict import Subject

SUBJECT = Subject(name="a", sha256="0")


class Staged(SimulatedRunner):
    """A runner that tells where the time went, as an engine does."""

    def infer(self, images: Any) -> dict[str, Any]:
        self.stages_ms = {"h2dMs": 1.0, "computeMs": 7.5, "d2hMs": 0.5, "secret": 3.0}
        return super().infer(images)


def measured(
    plan: BenchmarkSettings, kind: type[SimulatedRunner] = SimulatedRunner
) -> BenchmarkMeasurement:
    machine = SimulatedMachine("normal", 1)
    return measure_benchmark(
        kind(machine, 10.0), [np.zeros((1, 1, 1, 3), np.uint8)],
        subject=SUBJECT, plan=plan, machine=machine, clock=machine.clock,
    )  # fmt: skip


def test_both_the_duration_and_the_number_are_reached() -> None:
    long = measured(BenchmarkSettings(duration_s=3))
    assert sum(long.latencies_ms()) == pytest.approx(3000, rel=0.02)
    assert len(measured(BenchmarkSettings(duration_s=0, iterations=17)).samples) == 17


def test_percentiles_are_of_the_raw_samples(tmp_path: Path) -> None:
    record = measured(BenchmarkSettings())
    assert record.percentile_ms(95) == np.percentile(record.latencies_ms(), 95)
    assert record.percentile_ms(50) == pytest.approx(10, rel=0.1)
    assert record.images_per_second == pytest.approx(100, rel=0.1)
    (tmp_path / "b.json").write_bytes(record.to_bytes())
    assert read_record(tmp_path / "b.json", BenchmarkMeasurement) == record


def test_samples_carry_trtexecs_keys_as_far_as_the_runner_knows() -> None:
    plain = measured(BenchmarkSettings(duration_s=0)).samples[0]
    staged = measured(BenchmarkSettings(duration_s=0), Staged).samples[0]
    assert set(plain) == {"startEnqMs", "latencyMs"}
    assert {key: staged[key] for key in ("h2dMs", "computeMs", "d2hMs")} == {
        "h2dMs": 1.0, "computeMs": 7.5, "d2hMs": 0.5
    }  # fmt: skip
    assert "secret" not in staged


def test_a_soak_runs_before_and_no_sample_of_it_is_kept() -> None:
    machine = SimulatedMachine("normal", 1)
    record = measure_benchmark(
        SimulatedRunner(machine, 10.0), [np.zeros((1, 1, 1, 3), np.uint8)],
        subject=SUBJECT, plan=BenchmarkSettings(soak_s=20, duration_s=1), machine=machine,
        clock=machine.clock,
    )  # fmt: skip
    assert machine.now_s > 21
    assert sum(record.latencies_ms()) < 1100
