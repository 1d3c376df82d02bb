"""The fastest options stay, ONNX Runtime's own where nothing is faster by more than the noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny import HEIGHT, WIDTH, write_tiny

from artoolkit.cost import session_tuning
from artoolkit.cost.session_tuning import (
    SessionTuning,
    Tried,
    fastest,
    thread_counts,
    tuned_session,
)
from artoolkit.spec import SessionOptions

DEFAULT = SessionOptions(threads=2)
OTHER = SessionOptions(threads=1)


def tried(default_ms: tuple[float, ...], other_ms: tuple[float, ...]) -> list[Tried]:
    return [
        Tried(options=DEFAULT, milliseconds=default_ms),
        Tried(options=OTHER, milliseconds=other_ms),
    ]


def test_another_value_must_gain_more_than_the_noise() -> None:
    assert fastest(tried((10, 10, 50), (9.9, 9.9, 9.9))) == DEFAULT
    assert fastest(tried((10, 10, 50), (9.7, 9.7, 99))) == OTHER
    assert fastest(tried((9, 9, 9), (10, 10, 1))) == DEFAULT


def test_threads_are_halved_down_to_one() -> None:
    assert thread_counts(1) == (None,)
    assert thread_counts(6) == (None, 3, 1)
    assert thread_counts(16) == (None, 8, 4, 2, 1)


def stand_in(monkeypatch: pytest.MonkeyPatch, cost: dict[str, float]) -> None:
    """Opening and timing replaced by options and a sum of costs, in milliseconds."""

    class Opened:
        def __init__(self, options: SessionOptions) -> None:
            self.options = options

        def __enter__(self) -> Opened:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    def timed(runner: Opened, _images: object, count: int, **_: object) -> list[float]:
        values = runner.options.model_dump()
        settled = 100 + sum(c for name, c in cost.items() if values[name])
        return [1e6] * (count - 1) + [settled]

    monkeypatch.setattr(session_tuning, "open_onnxruntime", lambda _, chosen: Opened(chosen))
    monkeypatch.setattr(session_tuning, "time_block", timed)
    monkeypatch.setattr(session_tuning, "usable_cores", lambda: 4)


def test_options_are_chosen_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, {"spinning": 10.0, "cpu_arena": -20.0, "memory_pattern": 1.0})
    shares: list[float] = []
    found = tuned_session(
        Path("x"), np.zeros(1, np.uint8), progress=lambda _, share: shares.append(share)
    )
    assert found.chosen == SessionOptions(spinning=False)
    assert [len(stage) for stage in found.tried] == [3, 2, 2, 2]
    assert all(len(one.milliseconds) == 5 for stage in found.tried for one in stage)
    assert all(not one.options.spinning for stage in found.tried[2:] for one in stage)
    assert shares == [0, 0.25, 0.5, 0.75]
    assert SessionTuning.model_validate_json(found.model_dump_json()) == found


def test_threads_that_are_given_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, {})
    found = tuned_session(Path("x"), np.zeros(1, np.uint8), threads=3)
    assert found.chosen == SessionOptions(threads=3)
    assert [len(stage) for stage in found.tried] == [2, 2, 2]


def test_a_real_network_is_measured(tmp_path: Path) -> None:
    model = write_tiny(tmp_path / "tiny.onnx")
    images = np.zeros((1, HEIGHT, WIDTH, 3), np.uint8)
    found = tuned_session(model, images, threads=1, rounds=1)
    assert found.chosen.threads == 1
    assert min(one.median_ms for stage in found.tried for one in stage) > 0
    assert found.environment.cores >= 1
