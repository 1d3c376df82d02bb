from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from artoolkit.errors import DataError, StorageError
from artoolkit.evaluation.experiment import (
    Row,
    append_row,
    markdown_table,
    read_rows,
    summarise,
)
from artoolkit.evaluation.sequential import look_alpha


def row(arm: str, weight: float, seed: int, miou: float, **more: object) -> Row:
    return {"arm": arm, "ar_weight": weight, "seed": seed, "epochs": 8, "mIoU": miou, **more}


# The pilot's arms with four seeds: its interval was 0.41 to 2.03 around 1.22.
PILOT = [
    *(row("all", 20, seed, miou) for seed, miou in enumerate((55.52, 56.71, 57.33, 57.00))),
    *(row("control", 0, seed, miou) for seed, miou in enumerate((54.83, 55.58, 56.19, 55.08))),
]


def test_differences_are_paired_by_seed_with_a_t_interval() -> None:
    control, arm = summarise(PILOT)
    assert (control.title, control.pairs, control.difference) == ("control", 0, None)
    assert arm.title == "all, 20"
    assert arm.difference is not None
    d = arm.difference
    assert (round(d.estimate, 2), round(d.low, 2), round(d.high, 2)) == (1.22, 0.41, 2.03)
    assert arm.spread.mean == pytest.approx(56.64)
    assert arm.spread.sd == pytest.approx(0.789, abs=1e-3)


def test_only_runs_of_the_same_seed_baseline_and_length_are_compared() -> None:
    rows = [
        row("control", 0, 1, 50.0, baseline="a"),
        row("control", 0, 2, 60.0, baseline="a"),
        row("all", 5, 1, 51.0, baseline="a"),
        row("all", 5, 2, 70.0, baseline="b"),
        row("all", 5, 3, 70.0, baseline="a"),
        row("all", 5, 2, 62.0, baseline="a"),
    ]
    arm = summarise(rows)[1]
    assert (arm.pairs, len(arm.miou)) == (2, 4)
    assert arm.difference is not None
    assert arm.difference.estimate == pytest.approx(1.5)


def test_one_pair_has_a_mean_and_no_interval() -> None:
    arm = summarise([row("control", 0, 1, 50.0), row("paper", 0.1, 1, 51.0)])[1]
    assert (arm.pairs, arm.difference, arm.spread.sd) == (1, None, None)


def test_the_table_is_in_the_order_of_the_arms_and_shows_what_was_recorded() -> None:
    rows = [
        row("all", 20, 1, 51.0, boundary_mIoU=40.0),
        row("all", 5, 1, 52.0, boundary_mIoU=41.0),
        row("control", 0, 1, 50.0, boundary_mIoU=None),
        row("paper", 0.1, 1, 50.0, boundary_mIoU=39.0),
    ]
    lines = markdown_table(summarise(rows, metrics=("boundary_mIoU", "step_s")))
    assert [line.split(" | ")[0] for line in lines[2:]] == [
        "| control", "| paper, 0.1", "| all, 5", "| all, 20"
    ]  # fmt: skip
    assert "boundary" in lines[0] and "step" not in lines[0]
    assert lines[2].endswith("| - |") and lines[-1].endswith("| 40.00 |")


def test_rows_are_read_back_and_a_cut_line_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "runs.jsonl"
    assert read_rows(path) == []
    for one in PILOT[:3]:
        append_row(path, one)
    whole = path.read_bytes()
    for cut in (whole[:-1], whole[:-20]):
        path.write_bytes(cut)
        assert read_rows(path) == PILOT[:2]
    append_row(path, PILOT[2])
    assert path.read_bytes() == whole


def test_a_line_that_is_no_row_is_named(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    for text, message in (("{}\n", "line 1, has no valid arm, ar_weight"), ("]\n\n", "line 1 of")):
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            read_rows(path)


def test_a_row_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot write") as caught:
        append_row(tmp_path / "file" / "runs.jsonl", PILOT[0])
    assert "\n" not in str(caught.value)


def adds(path: Path, arm: str) -> None:
    for seed in range(20):
        append_row(path, row(arm, 5.0, seed, 50.0))


def test_rows_of_processes_that_write_at_once_are_all_kept_and_once(tmp_path: Path) -> None:
    path, context = tmp_path / "runs.jsonl", multiprocessing.get_context("forkserver")
    writers = [context.Process(target=adds, args=(path, arm)) for arm in ("all", "all", "paper")]
    for one in writers:
        one.start()
    for one in writers:
        one.join(60)
        assert one.exitcode == 0
    found = [(one["arm"], one["seed"]) for one in read_rows(path)]
    assert sorted(found) == [(arm, seed) for arm in ("all", "paper") for seed in range(20)]


def test_an_interval_is_wider_where_several_arms_were_tried_and_looked_at_before_the_end() -> None:
    plain = summarise(PILOT)[1]
    assert plain.corrected is None
    second = [row("paper", 20, seed, 55.0 + seed) for seed in range(4)]
    both = summarise([*PILOT, *second])[-1]
    assert both.corrected is not None and both.difference is not None
    assert both.corrected.level == pytest.approx(1 - 0.05 / 2)
    assert both.corrected.low < both.difference.low
    early = summarise([{**one, "looks": [2, 4, 8]} for one in [*PILOT, *second]])[-1]
    assert early.corrected is not None
    assert early.corrected.level == pytest.approx(1 - look_alpha([2, 4, 8], 4, 2))
    assert early.corrected.low < both.corrected.low
    assert "corrected for 2 arms and all looks" in markdown_table(summarise([*PILOT, *second]))[0]
