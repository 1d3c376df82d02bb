from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import experiment
import experiment_page as page
import pytest
from click.testing import CliRunner

from artoolkit.measure.experiment import read_rows

PLANNED = {study.name: study.runs(experiment.SEEDS) for study in experiment.studies()}


def row(study: str, arm: str, weight: float, seed: int, miou: float) -> dict[str, Any]:
    return {
        "study": study, "arm": arm, "ar_weight": weight, "seed": seed, "epochs": 12, "mIoU": miou,
        "boundary_mIoU": miou / 2, "interior_mIoU": 2 * miou, "IoU.road": miou, "IoU.car": None,
        "IoU.pole": miou / 4, "share.road": 70.0, "share.car": 0.0, "share.pole": 1.5,
        "affinity_regression": 0.1, "step_s": 1.0 + weight / 100, "baseline_seed": 1,
        "baseline": study, "train": ["train"], "val": ["val"], "images": 3, "crop": [96, 128],
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
    by_name = {study.name: study for study in experiment.studies()}
    assert len(by_name) == 7
    left_out = by_name["without-0006R0"]
    assert (left_out.train, left_out.val) == ("train-without-0006R0", "drive:0006R0")
    assert by_name["without-0001TP-b2"].baseline_seed == 2
    assert len(left_out.runs((1, 2))) == 2 * 4
    assert ("paper", 0.1, 1) in left_out.runs((1,))


def test_commands_are_those_of_a_user(tmp_path: Path) -> None:
    study = experiment.studies()[1]
    data = ("--dataset", "camvid")
    baseline = experiment.baseline_step(study, tmp_path / "b", data, ())
    assert 'data.train.splits=["train-without-0001TP"]' in baseline.arguments
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
        experiment, "run_study", lambda study, folder, *_, **named: asked.append((folder, named))
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(experiment, "RESULTS", tmp_path)
    command = ["--data-root", "x", "--at", "half", "--studies", "usual"]
    assert CliRunner().invoke(experiment.main, command).exit_code == 0
    ((folder, named),) = asked
    assert folder == Path("runs/experiment-half/usual")
    assert "augmentation.crop=[96,128]" in named["changes"]
    assert named["results"].name == "experiment-camvid-half.jsonl"


def test_rows_are_collected_once(tmp_path: Path) -> None:
    source = tmp_path / "runs" / "usual" / "experiment" / "runs.jsonl"
    source.parent.mkdir(parents=True)
    plain = {k: v for k, v in row("usual", "control", 0.0, 1, 50.0).items() if k != "study"}
    source.write_text(json.dumps(plain) + "\n")
    into = tmp_path / "results.jsonl"
    assert [experiment.collect(tmp_path / "runs", into) for _ in range(2)] == [1, 0]
    assert read_rows(into)[0]["study"] == "usual"


def test_an_empty_page_says_that_everything_is_missing(tmp_path: Path) -> None:
    (path,) = page.write_page([], PLANNED, tmp_path / "rows.jsonl")
    total = sum(len(runs) for runs in PLANNED.values())
    text = path.read_text()
    assert f"**0 of {total} planned runs are finished; {total} are missing.**" in text
    assert "no run yet" in text


def test_the_page_says_what_the_intervals_say(tmp_path: Path) -> None:
    drives = {f"without-{drive}": -2.0 for drive in experiment.DRIVES}
    rows = made({"usual": 1.0, **drives})
    text = page.write_page(rows, PLANNED, tmp_path / "rows.jsonl")[0].read_text()
    unseen, usual = text.split("Unseen drives (mean")[1].split("Usual split (")
    assert "* all, 20: it hurt: -1.85 (" in unseen
    assert "* all, 20: it helped: +1.15 (" in usual
    assert "| usual | 4 | 20 |" in text
    assert "| mIoU | -1.85 |" in text
    assert "| at class borders | -0.9" in text
    assert "| classes of less than 2 % of the pixels | -0.46 |" in text
    assert "| the other classes | -1.85 |" in text
    assert "crops of 96 x 128" in text
    assert "| car | - |" in text
    assert "| all, 20 | 1.200 | 8 |" in text


def test_drives_are_averaged_only_for_seeds_that_have_all() -> None:
    effects = {"without-0001TP": 1.0, "without-0006R0": 3.0, "without-0016E5": 2.0}
    assert page.over_drives(made({"without-0001TP": 1.0}), ("all", 20.0)) == []
    rows = made(effects, seeds=(1, 2, 3))
    rows = [r for r in rows if (r["study"], r["seed"]) != ("without-0006R0", 3)]
    assert page.over_drives(rows, ("all", 20.0)) == pytest.approx([2.1, 2.2])


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
    assert page.reading(values).startswith(answer)


def test_the_figure_has_a_column_a_study_and_is_repeatable() -> None:
    rows = made({"usual": 1.0, "without-0001TP": -1.0})
    made_twice = {page.figure_svg(rows, list(PLANNED)) for _ in range(2)}
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
