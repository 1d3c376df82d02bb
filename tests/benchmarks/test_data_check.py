"""The benchmark of `data check`: every pass is timed, and a ratio is taken round by round."""

from __future__ import annotations

from pathlib import Path

import data_check

from artoolkit.data.synthetic import synthesize


def test_every_pass_is_timed_in_every_round(tmp_path: Path) -> None:
    synthesize(tmp_path, train=2, val=1, size_hw=(32, 64), workers=1)
    row = data_check.measured(tmp_path, workers=1, rounds=2)
    assert row["images"] == 2
    assert {len(times["cpu_s"]) for times in row["passes"].values()} == {2}


def test_a_ratio_is_of_times_in_one_round() -> None:
    passes = {
        name: {"cpu_s": times}
        for name, times in (("decode", [1.0, 2.0, 9.0]), ("read", [2.0, 3.0, 9.0]),
                            ("check", [1.5, 3.0, 9.0]))
    }  # fmt: skip
    row = {"images": 4, "workers": 2, "passes": passes}
    assert data_check.ratio(row, "decode") == 1.5
    assert data_check.table({"8 x 8, 2 threads": row})[-1] == "| 8 x 8 | 2 | 500.00 | 1.50 | 1.00 |"
