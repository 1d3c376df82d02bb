from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import experiment
import experiment_page as page
import experiment_reading as reading
import experiment_studies as plan
import numpy as np
import pytest
from click.testing import CliRunner
from experiment_figure import figure_svg
from experiment_table import table
from PIL import Image
from result_file import RESULTS

from artoolkit.evaluation.experiment import read_rows

STUDIES = plan.studies()
BY_NAME = {study.name: study for study in STUDIES}


def row(study: str, arm: str, weight: float, seed: int, miou: float) -> dict[str, Any]:
    return {
        "study": study, "arm": arm, "ar_weight": weight, "seed": seed, "epochs": 12, "mIoU": miou,
        "boundary_mIoU": miou / 2, "interior_mIoU": 2 * miou, "IoU.road": miou, "IoU.car": None,
        "IoU.pole": miou / 4, "share.road": 70.0, "share.car": 0.0, "share.pole": 1.5,
        "affinity_regression": 0.1, "step_s": 1.0 + weight / 100, "baseline_seed": 1,
        "baseline_mIoU": 49.0, "baseline": study.removesuffix("-faster"),
        "train": ["train"], "val": [study], "images": 3, "crop": [96, 128],
        "device": "cpu",
    }  # fmt: skip


def made(effects: dict[str, float], seeds: Sequence[int] = (1, 2)) -> list[dict[str, Any]]:
    """Control and all at 20 in every study, apart by its effect and by a seed's luck."""
    return [
        row(study, arm, weight, seed, 50 + seed + (effect + seed / 10 if weight else 0))
        for study, effect in effects.items()
        for seed in seeds
        for arm, weight in (("control", 0.0), ("all", 20.0))
    ]


def test_the_plan_leaves_every_drive_out_and_has_a_second_baseline() -> None:
    left_out = BY_NAME["without-0006R0"]
    assert (left_out.train, left_out.val) == ("train-without-0006R0", "drive:0006R0")
    assert left_out.unseen
    assert not BY_NAME["usual"].unseen
    assert BY_NAME["without-0001TP-b2"].baseline_seed == 2
    assert len(left_out.runs((1, 2))) == 2 * 4
    assert ("paper", 0.1, 1) in left_out.runs((1,))
    assert BY_NAME["without-0016E5-faster"].runs((4, 5)) == []


def test_a_variant_starts_from_the_baseline_of_its_study(tmp_path: Path) -> None:
    study = BY_NAME["without-0016E5-faster"]
    assert (study.variant, study.baseline) == ("-faster", "without-0016E5")
    assert study.changes(tmp_path, "camvid") == ("optimizer.lr=0.05",)
    (step, *_) = experiment.experiment_steps(
        study, tmp_path, 1, (), study.changes(tmp_path, "camvid")
    )
    given = step.arguments
    assert given[given.index("--baseline") + 1].endswith("E5/baseline/model.safetensors")
    assert given[given.index("--out") + 1].endswith("E5-faster/experiment")
    assert "optimizer.lr=0.05" in given
    assert BY_NAME["usual"].changes(tmp_path, "camvid") == ()


def test_median_frequency_balancing_by_hand(tmp_path: Path) -> None:
    """Of 16 labelled pixels an image: sky 12 and 8, road 4 and 4, car 4 in the second alone."""
    labels = np.zeros((2, 4, 4), np.uint8)
    labels[:, 3], labels[1, 2] = 3, 8
    for part in ("images", "labels"):
        (tmp_path / part / "train").mkdir(parents=True)
    for number, label in enumerate(labels):
        name = f"0001TP_{number}.png"
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "images" / "train" / name)
        Image.fromarray(label).save(tmp_path / "labels" / "train" / name)
    weights = plan.median_frequency_weights(tmp_path, "train")
    # Frequencies 20/32, 8/32 and 4/16: the median is 1/4.
    assert weights == pytest.approx([0.4, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0])


def test_commands_are_those_of_a_user(tmp_path: Path) -> None:
    study = BY_NAME["without-0001TP"]
    data = ("--dataset", "camvid")
    setup = experiment.SETUPS["pretrained"]
    baseline = experiment.baseline_step(study, setup, tmp_path / "b", data)
    assert 'data.train.splits=["train-without-0001TP"]' in baseline.arguments
    assert "efficientnet_lite0-imagenet" in baseline.arguments
    steps = list(experiment.experiment_steps(study, tmp_path, 3, data, ()))
    arms = [step.arguments[step.arguments.index("--arms") + 1] for step in steps]
    assert arms == ["control", "paper", "center,all"]
    assert "--ar-weight" not in steps[0].arguments
    assert steps[2].arguments[steps[2].arguments.index("--ar-weight") + 1] == "20.0"


def test_half_the_resolution_has_runs_and_rows_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(
        experiment, "run_study", lambda *given, **named: asked.append((*given[:3], named))
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(experiment, "RESULTS", tmp_path)
    command = ["--data-root", "x", "--at", "half", "--studies", "usual", "--arms", "all"]
    assert CliRunner().invoke(experiment.main, command).exit_code == 0
    ((study, setup, runs, named),) = asked
    assert study.arms == (("all", (20.0,)),)
    assert runs == Path("runs/experiment-half")
    assert "augmentation.crop=[96,128]" in setup.changes
    assert named["own"] == setup.changes
    assert named["results"].name == "experiment-camvid-half.jsonl"


def test_rows_are_collected_once(tmp_path: Path) -> None:
    source = tmp_path / "runs" / "usual" / "experiment" / "runs.jsonl"
    source.parent.mkdir(parents=True)
    whole = row("usual", "control", 0.0, 1, 50.0)
    plain = {key: whole[key] for key in whole if key not in ("study", "baseline_mIoU")}
    source.write_text(json.dumps(plain) + "\n")
    baseline = tmp_path / "runs" / "usual" / "baseline" / "metrics.jsonl"
    baseline.parent.mkdir()
    baseline.write_text('{"kind": "evaluation", "mIoU": 40}\n{"mIoU": 49.5}\n{"kind": "end"}\n')
    into = tmp_path / "results.jsonl"
    assert [experiment.collect(tmp_path / "runs", into) for _ in range(2)] == [1, 0]
    assert read_rows(into)[0] == {**whole, "baseline_mIoU": 49.5}


def test_an_empty_page_says_that_everything_is_missing(tmp_path: Path) -> None:
    (path,) = page.write_page([], STUDIES, tmp_path / "rows.jsonl")
    total = sum(len(study.runs(plan.SEEDS)) for study in STUDIES)
    text = path.read_text()
    assert f"**0 of {total} planned runs are finished; {total} are missing.**" in text
    assert "no run yet" in text


def test_the_page_says_what_the_intervals_say(tmp_path: Path) -> None:
    drives = {f"without-{drive}": -2.0 for drive in plan.DRIVES}
    rows = made({"usual": 1.0, **drives})
    text = page.write_page(rows, STUDIES, tmp_path / "rows.jsonl")[0].read_text()
    first, second = text.split("Unseen drives, baseline of seed 1 (mean")[1].split(
        "Unseen drives, baseline of seed 2"
    )
    again, usual = second.split("Usual split (")
    assert "* all, 20: it hurt: -1.85 (" in first
    assert "Single runs better than their control: 0 of 6 with all, 20." in first
    assert "* no run yet" in again
    assert "* all, 20: it helped: +1.15 (" in usual
    assert "| usual | 4 | 20 |" in text
    assert "| mIoU | -1.85 |" in text
    assert "| at class borders | -0.9" in text
    assert "| classes of less than 2 % of the pixels | -0.46 |" in text
    assert "| the other classes | -1.85 |" in text
    assert "with 49.00 % mIoU, crops of 96 x 128" in text
    assert "| car | - |" in text
    assert "| all, 20 | 1.200 | 8 |" in text


def test_a_variant_is_judged_against_the_plain_control(tmp_path: Path) -> None:
    rows = made({"without-0016E5": 2.0})
    faster = [{**r, "mIoU": r["mIoU"] + 5} for r in made({"without-0016E5-faster": 1.0})]
    (path, _) = page.write_page([*rows, *faster], STUDIES, tmp_path / "rows.jsonl")
    part = path.read_text().split("## Would something simpler do?")[1].split("## What it costs")[0]
    assert "| all, 20 | +2.15 (" in part
    assert "five times as high, no AR | +5.00 (" in part
    assert "five times as high, and all, 20 | +6.15 (" in part
    assert "class weights (median-frequency balancing), no AR | - |" in part


def test_a_whole_experiment_says_that_nothing_is_missing() -> None:
    rows = [row(s.name, *run, 50.0) for s in STUDIES for run in s.runs(plan.SEEDS)]
    assert "none is missing" in page.missing_lines(rows, STUDIES)[0]


def test_drives_are_averaged_only_for_seeds_that_have_all() -> None:
    effects = {"without-0001TP": 1.0, "without-0006R0": 3.0, "without-0016E5": 2.0}
    assert reading.over_drives(made({"without-0001TP": 1.0}), ("all", 20.0)) == []
    rows = made(effects, seeds=(1, 2, 3))
    rows = [r for r in rows if (r["study"], r["seed"]) != ("without-0006R0", 3)]
    assert reading.over_drives(rows, ("all", 20.0)) == pytest.approx([2.1, 2.2])


@pytest.mark.parametrize(
    ("values", "answer"),
    [
        ([1.0, 1.1, 0.9], "it helped: +1.00"),
        ([-1.0, -1.1, -0.9], "it hurt: -1.00"),
        ([1.0, -1.0], "no effect is shown: +0.00"),
        ([1.0], "nothing can be said yet (1 pairs)"),
    ],
)
def test_readings(values: list[float], answer: str) -> None:
    assert reading.reading(values).startswith(answer)


def test_the_figure_has_a_column_a_study_and_is_repeatable() -> None:
    rows = made({"usual": 1.0, "without-0001TP": -1.0})
    made_twice = {figure_svg(rows, ["without-0001TP"], list(BY_NAME)) for _ in range(2)}
    assert len(made_twice) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--studies", "night"), "got night; expected usual, without-0001TP"),
        (("--seeds", "a-b"), "expected SEED or FIRST-LAST"),
        ((), "--data-root CAMVID is needed"),
    ],
)
def test_wrong_use(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    places = ("--runs", str(tmp_path), "--results", str(tmp_path / "rows.jsonl"))
    done = CliRunner().invoke(experiment.main, [*places, *arguments])
    assert done.exit_code == 2
    assert message in done.output


def test_the_table_has_the_drives_apart_and_together() -> None:
    effects = {"without-0001TP": 1.0, "without-0006R0": 3.0, "without-0016E5": 2.0}
    head, _, control, ours = table(made(effects))
    assert head == (
        "| arm, weight | unseen 0001TP | unseen 0006R0 | unseen 0016E5 | unseen, mean, baseline 1 "
        "| new streets |"
    )
    assert control == "| control, mIoU in % | 51.50 | 51.50 | 51.50 | 51.50 | 51.50 |"
    assert ours.count("(") == 5
    assert ours.startswith("| all, 20 | +1.15 (")
    by_seed, by_drive = ours.split(" | ")[-2:]
    assert by_seed.startswith("+2.15 (")
    # The drives are 1.15, 2.15 and 3.15; Student's t with 2 degrees gives -0.33 to +4.63.
    assert by_drive.startswith("+2.15 (-0.")


def test_one_pair_has_no_interval_and_one_drive_no_mean() -> None:
    rows = [row for row in made({"without-0001TP": 1.0}) if row["seed"] == 1]
    head, _, _, ours = table(rows)
    assert head == "| arm, weight | unseen 0001TP |"
    assert re.fullmatch(r"\| all, 20 \| \+\d\.\d\d \(one pair\) \|", ours)


def test_new_streets_are_more_than_one_drive() -> None:
    told = page.answer_lines(made({"without-0001TP": 1.0}), STUDIES)
    assert "about new seeds, from 1 drives, 1 baselines, 2 pairs" in told[2]


@pytest.mark.parametrize("rows", sorted(RESULTS.glob("experiment-*.jsonl")), ids=lambda p: p.stem)
def test_the_committed_page_is_that_of_the_committed_rows(rows: Path, tmp_path: Path) -> None:
    (made, *_) = page.write_page(read_rows(rows), STUDIES, tmp_path / rows.name)
    assert made.read_text() == rows.with_suffix(".md").read_text()
