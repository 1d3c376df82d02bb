"""`experiment` as a user types it, on pictures of 64 x 128."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from small_town import data, make_town

from artoolkit.cli import run
from artoolkit.evidence.folders import owned
from artoolkit.training import experiment
from artoolkit.training.display import ExperimentBar
from artoolkit.training.recipe import load_recipe


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set, a recipe and a trained baseline in one folder."""
    return make_town(tmp_path_factory.mktemp("town"), epochs=1)


def start(town: Path, out: Path, *more: str) -> int:
    baseline = ("--baseline", str(town / "base" / "model.safetensors"))
    return run(("experiment", *baseline, *data(town), "--out", str(out), *more))


@pytest.fixture(scope="module")
def whole(town: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three arms with two seeds; to be read only."""
    out = tmp_path_factory.mktemp("whole") / "out"
    arms = ("--arms", "all,control,jitter", "--ar-weight", "5", "--seeds", "2", "--epochs", "2")
    assert start(town, out, *arms) == 0
    return out


def rows(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "runs.jsonl").read_text().splitlines()]


def steps(folder: Path) -> list[dict]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [row for row in lines if row["kind"] == "iteration"]


def timeless(row: dict) -> dict:
    return {key: value for key, value in row.items() if not key.endswith("_s")}


def test_a_row_a_finished_run_seed_by_seed_control_first(whole: Path) -> None:
    made = rows(whole)
    assert [(row["arm"], row["ar_weight"], row["seed"]) for row in made] == [
        ("control", 0.0, 1), ("all", 5.0, 1), ("jitter", 5.0, 1),
        ("control", 0.0, 2), ("all", 5.0, 2), ("jitter", 5.0, 2),
    ]  # fmt: skip
    for row in made:
        assert {"epochs", "mIoU", "IoU.road", "step_s", "train_s"} <= set(row)
        assert {"boundary_mIoU", "boundary_IoU.road", "interior_mIoU"} <= set(row)
        assert (row["epochs"], row["iterations"], row["val"]) == (2, 4, ["val"])
        assert 0 < row["affinity_regression"] < 1


def test_the_rows_miou_is_that_of_the_runs_last_epoch(whole: Path) -> None:
    for row, name in zip(rows(whole), ("control", "all-5", "jitter-5"), strict=False):
        lines = (whole / "runs" / f"{name}-seed1" / "metrics.jsonl").read_text().splitlines()
        epochs = [one for one in map(json.loads, lines) if one["kind"] == "epoch"]
        assert ["mIoU" in one for one in epochs] == [True, False, True]
        assert epochs[-1]["mIoU"] == pytest.approx(row["mIoU"])


def test_the_arms_of_a_seed_differ_in_the_loss_alone(whole: Path) -> None:
    folders = {name: whole / "runs" / f"{name}-seed1" for name in ("control", "all-5")}
    plain = []
    for folder in folders.values():
        recipe = load_recipe(str(folder / "recipe.toml"))
        plain.append(recipe.model_copy(update={"name": "", "loss": None}))
    assert plain[0] == plain[1]
    first = [steps(folder)[0]["cross_entropy"] for folder in folders.values()]
    assert first[0] == pytest.approx(first[1], rel=1e-6)
    other = steps(whole / "runs" / "control-seed2")[0]["cross_entropy"]
    assert other != pytest.approx(first[0], rel=1e-6)


def test_table_and_figure_show_the_arms(
    whole: Path, town: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = (whole / "table.md").read_text()
    assert [line.split(" | ")[0] for line in table.splitlines()[2:]] == [
        "| control", "| jitter, 5", "| all, 5"
    ]  # fmt: skip
    assert "2 pairs" in table
    assert "<svg" in (whole / "figure.svg").read_text()
    # A finished experiment is only shown again.
    before = (whole / "runs.jsonl").read_bytes()
    again = ("--arms", "control,all,jitter", "--ar-weight", "5", "--seeds", "2", "--epochs", "2")
    assert start(town, whole, *again) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith(table)
    assert "0 runs of 2 epochs to do, 6 finished before" in shown.err
    assert (whole / "runs.jsonl").read_bytes() == before


def test_what_only_resuming_needs_is_removed_and_weights_on_request(
    whole: Path, town: Path, tmp_path: Path
) -> None:
    folder = whole / "runs" / "control-seed1"
    assert (folder / "model.safetensors").exists() and not (folder / "state").exists()
    arms = ("--arms", "control", "--seeds", "1", "--epochs", "1", "--drop-models")
    assert start(town, tmp_path / "out", *arms) == 0
    assert not (tmp_path / "out" / "runs" / "control-seed1" / "model.safetensors").exists()


def test_arms_of_ones_own_stand_beside_the_control_and_keep_their_meaning(
    town: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, short = tmp_path / "out", ("--seeds", "1", "--epochs", "1", "--drop-models")
    teacher = ("--teacher", str(town / "base" / "model.safetensors"))
    arms = ("--arm", "weights=class-weights=effective-number label-smoothing=0.1")
    taught = ("--arm", "taught=affinity-distillation=5 ar-weight=2")
    assert start(town, out, *arms, *taught, *short) == 2
    assert "the arm taught learns from a teacher; expected --teacher" in capsys.readouterr().err
    assert start(town, out, *arms, *taught, *short, *teacher) == 0
    made = rows(out)
    assert [(row["arm"], row["ar_weight"]) for row in made] == [
        ("control", 0.0), ("weights", 0.0), ("taught", 2.0)
    ]  # fmt: skip
    assert made[1]["settings"] == "class-weights=effective-number label-smoothing=0.1"
    assert ["teachers" in row for row in made] == [False, False, True]
    assert "| weights |" in (out / "table.md").read_text()
    assert start(town, out, "--arm", "weights=epochs=2", *short) == 2
    assert "the arm weights is class-weights=effective-number" in capsys.readouterr().err


def test_shards_share_a_folder_and_do_every_run_once(
    whole: Path, town: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arms = ("--arms", "control,all", "--ar-weight", "5", "--seeds", "1", "--epochs", "2")
    with owned(out):  # by a shard that still works
        assert start(town, out, *arms, "--shard", "2/2") == 0
        assert [row["arm"] for row in rows(out)] == ["all"]
        assert start(town, out, *arms, "--shard", "1/2") == 0
    assert [timeless(row) for row in rows(out)] == [timeless(rows(whole)[i]) for i in (1, 0)]
    for wrong in ("0/2", "3/2", "2"):
        assert start(town, out, *arms, "--shard", wrong) == 2
        assert "--shard is I/N" in capsys.readouterr().err


def test_after_a_look_only_arms_that_may_win_get_seeds(
    town: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a run reaches is made up: training it would say nothing here."""
    reached = {"control": 50.0, "good": 52.0, "poor": 40.0}

    def made_up(shared: experiment.Experiment, run: experiment.Run, *_: object) -> dict:
        miou = reached[run.arm] + 0.01 * run.seed
        return {"arm": run.arm, "ar_weight": run.ar_weight, "seed": run.seed, "epochs": 1,
                "mIoU": miou, "boundary_mIoU": None, "step_s": 0.1, "settings": run.settings,
                "baseline": shared.identity}  # fmt: skip

    monkeypatch.setattr(experiment, "do_run", made_up)
    arms = ("--arm", "good=label-smoothing=0.1", "--arm", "poor=label-smoothing=0.9")
    out = tmp_path / "out"
    assert start(town, out, *arms, "--looks", "2,3", "--seeds", "4") == 2
    assert "from 2 or more up to the 4 of --seeds" in capsys.readouterr().err
    assert start(town, out, *arms, "--looks", "2,3", "--shard", "1/2") == 0
    assert "3 runs of other shards are not finished: start again" in capsys.readouterr().err
    assert start(town, out, *arms, "--looks", "2,3") == 0
    done = sorted((row["arm"], row["seed"]) for row in rows(out))
    assert [seed for arm, seed in done if arm == "poor"] == [1, 2]
    assert [seed for arm, seed in done if arm == "good"] == [1, 2, 3]
    assert rows(out)[0]["looks"] == [2, 3]
    assert "corrected for 2 arms and all looks" in (out / "table.md").read_text()


class Stops(ExperimentBar):
    """Ctrl-C after the third step of the second run."""

    def stepped(self, row: dict) -> None:
        if self._done == 1 and row["iteration"] == 3:
            signal.raise_signal(signal.SIGINT)


def test_ctrl_c_saves_and_the_same_command_ends_with_the_same_rows(
    whole: Path, town: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    out = tmp_path / "out"
    arms = ("--arms", "all,control,jitter", "--ar-weight", "5", "--seeds", "1", "--epochs", "2")
    with monkeypatch.context() as patched:
        patched.setattr("artoolkit.training.display.ExperimentBar", Stops)
        assert start(town, out, *arms) == 130
    shown = capsys.readouterr()
    assert "Stopped and saved. The same command goes on." in shown.err
    assert "| control |" in shown.out
    assert len(rows(out)) == 1
    # A kill in the middle of the row's line.
    with (out / "runs.jsonl").open("a") as file:
        file.write('{"arm": "all", "ar_w')
    assert start(town, out, *arms) == 0
    assert [timeless(row) for row in rows(out)] == [timeless(row) for row in rows(whole)[:3]]


def test_a_kill_between_the_last_epoch_and_the_row_trains_nothing_again(
    whole: Path, town: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    arms = ("--arms", "control", "--seeds", "1", "--epochs", "2")
    with monkeypatch.context() as patched:
        patched.setattr(experiment, "append_row", lambda *_: (_ for _ in ()).throw(SystemExit(9)))
        assert start(town, out, *arms) == 9
    written = (out / "runs" / "control-seed1" / "model.safetensors").stat().st_mtime_ns
    assert start(town, out, *arms) == 0
    assert (out / "runs" / "control-seed1" / "model.safetensors").stat().st_mtime_ns == written
    assert timeless(rows(out)[0]) == timeless(rows(whole)[0])


def test_another_experiment_does_not_go_into_the_same_folder(
    whole: Path, town: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(town, whole, "--epochs", "3") == 2
    assert "another experiment: schedule.epochs 2 instead of 3" in (
        capsys.readouterr().err.replace("evaluation.every 2 instead of 3; ", "")
    )
    train = ("train", "--recipe", str(town / "tiny.toml"), *data(town), "--seed", "2")
    assert run((*train, "--out", str(tmp_path / "second"))) == 0
    baseline = ("--baseline", str(tmp_path / "second" / "model.safetensors"))
    more = ("--arms", "control", "--seeds", "3", "--epochs", "2", "--out", str(whole))
    assert run(("experiment", *baseline, *data(town), *more)) == 2
    assert "another baseline" in capsys.readouterr().err


def test_images_that_were_trained_on_are_no_validation_images(
    town: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert start(town, out, "--val-split", "train") == 2
    assert "the arms trained on images of the validation split; got 4 of 4" in (
        capsys.readouterr().err
    )
    assert start(town, out, "--train-split", "val", "--val-split", "train") == 2
    assert "the baseline trained on images of the validation split" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--arms", "control,everywhere"), 2, "'everywhere' is not one of control"),
        (("--ar-weight", "0,5"), 2, "--ar-weight must be above 0; got 0. The weight 0 is"),
        (("--ar-weight", "much"), 2, "not a list of float"),
        (("--val-split", "night"), 4, "no split night"),
        (("--set", "optimizer.lr=-1"), 7, "optimizer.lr"),
        (("--device", "tpu"), 2, "--device is unknown"),
    ],
)
def test_wrong_use_is_one_line_and_leaves_nothing(
    arguments: tuple[str, ...], code: int, message: str, town: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert start(town, tmp_path / "out", *arguments) == code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_missing_baseline_and_a_file_as_folder(
    town: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = ("experiment", "--baseline", "no.safetensors", *data(town))
    assert run((*missing, "--out", str(tmp_path / "out"))) == 5
    assert "no checkpoint at" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert start(town, tmp_path / "file") == 15
    assert "cannot write to" in capsys.readouterr().err


def test_two_processes_do_not_share_a_folder(
    town: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with owned(whole):
        assert start(town, whole, "--epochs", "2") == 2
    assert "another process works in" in capsys.readouterr().err
