from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from streets import TABLE, Streets

from artoolkit.errors import (
    BackendError,
    CheckpointError,
    DataError,
    RecipeError,
    StorageError,
    TrainingError,
    UsageError,
)
from artoolkit.evidence.folders import owned
from artoolkit.networks.checkpoint import read_checkpoint
from artoolkit.training import epochs
from artoolkit.training.processes import Machine
from artoolkit.training.recipe import Recipe, load_recipe
from artoolkit.training.run import resume, start
from artoolkit.training.state import STATE, read_state, require_state
from artoolkit.training.watcher import Outcome, Silent, stop_requests

Make = Callable[..., Recipe]


class Interrupts(Silent):
    """Signals this process and its workers, as Ctrl-C or `timeout` do, after a step."""

    def __init__(self, iteration: int, number: int = signal.SIGINT) -> None:
        self.iteration, self.number = iteration, number

    def stepped(self, row: dict) -> None:
        if row["iteration"] == self.iteration:
            for child in multiprocessing.active_children():
                os.kill(child.pid or 0, self.number)
            signal.raise_signal(self.number)


def rows(out: Path) -> list[dict]:
    """The rows of a run without their times."""
    lines = (out / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k[-2:] != "_s"} for line in lines]


def same_run(left: Path, right: Path) -> bool:
    model = "model.safetensors"
    same_bits = (left / model).read_bytes() == (right / model).read_bytes()
    return same_bits and rows(left) == rows(right)


@pytest.fixture(scope="module")
def whole(tiny: Make, streets: Streets, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted; to be read only."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert start(tiny(), streets, out).finished
    return out


def test_a_runs_folder_holds_recipe_model_metrics_and_state(whole: Path, tiny: Make) -> None:
    assert load_recipe(str(whole / "recipe.toml")) == tiny()
    assert read_state(whole).progress.epoch == 2
    checkpoint = read_checkpoint(whole / "model.safetensors")
    assert checkpoint.meta.labels == TABLE
    assert checkpoint.meta.recipe == tiny().model_dump(mode="json", exclude_none=True)
    assert checkpoint.meta.provenance["epoch"] == 2
    assert checkpoint.meta.provenance["mIoU"] == rows(whole)[-1]["mIoU"]
    assert checkpoint.meta.provenance["seed"] == 3
    assert not checkpoint.network().training
    kinds = [row["kind"] for row in rows(whole)]
    assert kinds == ["start", *["iteration"] * 3, "epoch", *["iteration"] * 3, "epoch"]
    assert "IoU.a" in rows(whole)[-1]


def test_a_run_is_repeated_bit_by_bit(
    whole: Path, tiny: Make, streets: Streets, tmp_path: Path
) -> None:
    start(tiny(), streets, tmp_path / "again", machine=Machine(workers=1))
    assert same_run(whole, tmp_path / "again")
    start(tiny({"seed": 4}), streets, tmp_path / "other")
    assert not same_run(whole, tmp_path / "other")


@pytest.mark.parametrize("iteration", [1, 3, 5])
def test_ctrl_c_finishes_the_step_and_the_run_goes_on_bit_by_bit(
    iteration: int, whole: Path, tiny: Make, streets: Streets, tmp_path: Path
) -> None:
    out = tmp_path / "stopped"
    outcome = start(tiny(), streets, out, watcher=Interrupts(iteration))
    assert not outcome.finished
    assert (outcome.progress.epoch, outcome.progress.step) == (
        (iteration - 1) // 3,
        (iteration - 1) % 3 + 1,
    )
    assert resume(out, streets).finished
    assert same_run(whole, out)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_whole_group_is_a_clean_stop_too(
    number: int, whole: Path, tiny: Make, streets: Streets, tmp_path: Path
) -> None:
    if signal.getsignal(number) == signal.SIG_IGN:  # under nohup, where a run ignores it too
        signal.signal(number, signal.SIG_DFL)
    out = tmp_path / "stopped"
    watcher = Interrupts(2, number)
    outcome = start(tiny(), streets, out, machine=Machine(workers=1), watcher=watcher)
    assert (outcome.finished, outcome.progress.step) == (False, 2)
    resume(out, streets)
    assert same_run(whole, out)


@pytest.mark.parametrize("average", [{"optimizer.ema_decay": 0.9}, {"optimizer.average_epochs": 2}])
def test_the_average_scale_and_momentum_are_resumed_too(
    average: dict[str, object], tiny: Make, streets: Streets, tmp_path: Path
) -> None:
    recipe = tiny({**average, "optimizer.nesterov": True, "loss.ar_weight": 1.0})
    start(recipe, streets, tmp_path / "whole")
    start(recipe, streets, tmp_path / "stopped", watcher=Interrupts(4))
    resume(tmp_path / "stopped", streets)
    assert same_run(tmp_path / "whole", tmp_path / "stopped")


def test_a_state_of_the_old_spelling_is_resumed(
    tiny: Make, streets: Streets, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "stopped"
    start(tiny(), streets, out, watcher=Interrupts(2))
    saved = torch.load(out / STATE, weights_only=True)
    saved["recipe"] = saved["recipe"].replace('"optimizer"', '"optimiser"')
    saved |= {"format": 1, "optimiser": saved.pop("optimizer")}
    torch.save(saved, out / STATE)
    resume(out, streets)
    assert same_run(whole, out)


def test_no_damaged_state_is_resumed(
    tiny: Make, streets: Streets, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    start(tiny(), streets, tmp_path, watcher=Interrupts(2))
    path, draw = tmp_path / STATE, random.Random(0)
    whole = path.read_bytes()
    for _ in range(50):
        content = bytearray(whole)
        content[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        path.write_bytes(content)
        with pytest.raises(TrainingError):
            read_state(tmp_path)
    path.write_bytes(whole[:-66] + b"\0\0")  # the same archive without its checksum
    with pytest.raises(TrainingError, match="the checksum does not match"):
        read_state(tmp_path)
    assert not caplog.records


def test_a_second_ctrl_c_stops_at_once() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), stop_requests() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.is_set()
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_finished_run_is_left_as_it_is(whole: Path, streets: Streets) -> None:
    before = (whole / "model.safetensors").stat().st_mtime_ns, rows(whole)
    assert resume(whole, streets).finished
    assert ((whole / "model.safetensors").stat().st_mtime_ns, rows(whole)) == before


@pytest.mark.parametrize("workers", [0, 1])
def test_a_corrupt_image_ends_with_one_line_and_a_run_that_goes_on(
    workers: int, whole: Path, tiny: Make, streets: Streets, tmp_path: Path
) -> None:
    out, broken = tmp_path / "broken", dataclasses.replace(streets, broken="train_2")
    with pytest.raises(DataError, match=r"train_2\.png cannot be read: truncated"):
        start(tiny(), broken, out, machine=Machine(workers=workers))
    assert read_state(out).progress.epoch == 0
    resume(out, streets)
    assert same_run(whole, out)


def test_a_dead_worker_ends_with_one_line_and_a_run_that_goes_on(
    whole: Path, tiny: Make, streets: Streets, tmp_path: Path
) -> None:
    out, deadly = tmp_path / "deadly", dataclasses.replace(streets, deadly="train_3")
    with pytest.raises(TrainingError, match="a process that loads images died"):
        start(tiny(), deadly, out, machine=Machine(workers=1))
    resume(out, streets)
    assert same_run(whole, out)


def test_a_disk_that_fills_up_leaves_the_last_state(
    whole: Path, tiny: Make, streets: Streets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, write = tmp_path / "full", epochs.write_checkpoint
    calls = []

    def full_at_the_second(path: Path, checkpoint: object) -> None:
        calls.append(path)
        if len(calls) == 2:
            raise StorageError(f"cannot write {path}: No space left on device")
        write(path, checkpoint)

    monkeypatch.setattr(epochs, "write_checkpoint", full_at_the_second)
    with pytest.raises(StorageError, match="No space left"):
        start(tiny(), streets, out)
    assert read_state(out).progress.epoch == 1
    resume(out, streets)
    assert same_run(whole, out)


def test_a_loss_that_is_not_finite_keeps_the_last_epoch(
    tiny: Make, streets: Streets, tmp_path: Path
) -> None:
    recipe = tiny({"optimizer.lr": 1e30})
    with pytest.raises(TrainingError, match=r"not finite.*cross_entropy (nan|inf)"):
        start(recipe, streets, tmp_path)
    saved = read_state(tmp_path)
    assert saved.progress.step == 0
    assert all(torch.isfinite(t.float()).all() for t in saved.tensors["network"].values())


def test_fine_tuned_and_baseline_have_the_same_keys_and_the_baseline_is_named(
    whole: Path, tiny: Make, streets: Streets, tmp_path: Path
) -> None:
    baseline = read_checkpoint(whole / "model.safetensors")
    recipe = tiny({"loss.ar_weight": 1.0, "loss.ar_grid": "all"})
    start(recipe, streets, tmp_path / "ar", baseline=baseline)
    tuned = read_checkpoint(tmp_path / "ar" / "model.safetensors")
    shapes = [{k: v.shape for k, v in c.state.items()} for c in (baseline, tuned)]
    assert shapes[0] == shapes[1]
    assert tuned.meta.provenance["baseline"]["recipe"] == "tiny"
    assert len(tuned.meta.provenance["baseline"]["sha256"]) == 64


def test_fine_tuning_starts_at_the_baseline_and_its_control_sees_the_same_images(
    whole: Path, tiny: Make, streets: Streets, tmp_path: Path
) -> None:
    baseline = read_checkpoint(whole / "model.safetensors")
    first = []
    for name, weight in (("control", 0.0), ("ar", 5.0)):
        recipe = tiny({"loss.ar_weight": weight, "optimizer.lr": 1e-9})
        start(recipe, streets, tmp_path / name, baseline=baseline)
        first.append([row["cross_entropy"] for row in rows(tmp_path / name)[2:5]])
    assert first[0] == pytest.approx(first[1], rel=1e-5)
    assert first[0][0] < rows(whole)[1]["cross_entropy"]


def test_only_the_encoder_is_taken_where_the_classes_differ(
    whole: Path, tiny: Make, streets: Streets, tmp_path: Path
) -> None:
    source = read_checkpoint(whole / "model.safetensors")
    table = streets.labels.model_copy(
        update={"names": ("a", "b", "c", "d"), "colors": (*streets.labels.colors, (9, 9, 9)),
                "file_ids": (0, 1, 2, 3)}
    )  # fmt: skip
    other = dataclasses.replace(streets, labels=table)
    frozen = tiny({"optimizer.encoder_multiplier": 0.0})
    start(frozen, other, tmp_path / "four", encoder=source)
    made = read_checkpoint(tmp_path / "four" / "model.safetensors")
    assert torch.equal(
        made.state["trunk.stem.0.conv.weight"], source.state["trunk.stem.0.conv.weight"]
    )
    assert made.state["classifier.weight"].shape[0] == 4


def test_evaluation_is_as_seldom_as_asked_but_always_last(
    tiny: Make, streets: Streets, tmp_path: Path
) -> None:
    start(tiny({"schedule.epochs": 3, "evaluation.every": 2}), streets, tmp_path)
    evaluated = ["mIoU" in row for row in rows(tmp_path) if row["kind"] == "epoch"]
    assert evaluated == [False, True, True]


def test_what_cannot_start_says_why_and_leaves_nothing(
    whole: Path, tiny: Make, streets: Streets, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    baseline = read_checkpoint(whole / "model.safetensors")
    meta = baseline.meta.model_copy(
        update={"labels": streets.labels.model_copy(update={"names": ("x", "y", "z")})}
    )
    wider = tiny({"network.options": {"width": 0.25}})
    other_classes = dataclasses.replace(baseline, meta=meta)
    cases: list[tuple[type[Exception], str, Callable[[], Outcome]]] = [
        (UsageError, "holds a run already", lambda: start(tiny(), streets, whole)),
        (RecipeError, "fp16 needs a CUDA GPU",
         lambda: start(tiny({"execution.precision": "fp16"}), streets, out)),
        (RecipeError, "augmentation.crop is too small",
         lambda: start(tiny({"augmentation.crop": [16, 64]}), streets, out)),
        (RecipeError, r"terms\.aux_9: icnet has no output aux_9; expected one of aux_16, aux_8",
         lambda: start(tiny({"loss.aux_weights": {"aux_9": 1}}), streets, out)),
        (RecipeError, "one weight per class: got 2; expected 3",
         lambda: start(tiny({"loss.class_weights": [1, 2]}), streets, out)),
        (RecipeError, "batch_size is larger",
         lambda: start(tiny({"schedule.batch_size": 7}), streets, out)),
        (DataError, "no split test",
         lambda: start(tiny({"data.val": {"splits": ["test"]}}), streets, out)),
        (CheckpointError, "another network; got icnet, width=0.125; expected icnet, width=0.25",
         lambda: start(wider, streets, out, baseline=baseline)),
        (CheckpointError, "trained for other classes; got 3: x, y, z",
         lambda: start(tiny(), streets, out, baseline=other_classes)),
        (CheckpointError, "does not hold the encoder",
         lambda: start(wider, streets, out, encoder=baseline)),
        (UsageError, "cpu or cuda", lambda: start(tiny(), streets, out, machine=Machine("dla:0"))),
        (TrainingError, "no run to resume", lambda: resume(out, streets)),
        (TrainingError, "another data set; got town; expected streets",
         lambda: resume(whole, dataclasses.replace(streets, name="town"))),
    ]  # fmt: skip
    for kind, message, attempt in cases:
        with pytest.raises(kind, match=message) as caught:
            attempt()
        assert "\n" not in str(caught.value)
    assert not out.exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_missing_gpu_is_one_line(tiny: Make, streets: Streets, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="cuda:0 cannot be used"):
        start(tiny(), streets, tmp_path, machine=Machine("cuda:0"))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04rubbish", b"\x80\x04rubbish"])
def test_a_broken_state_is_one_line(content: bytes, streets: Streets, tmp_path: Path) -> None:
    (tmp_path / STATE).parent.mkdir()
    (tmp_path / STATE).write_bytes(content)
    with pytest.raises(TrainingError, match=r"last\.pt (cannot be read|is empty)") as caught:
        resume(tmp_path, streets)
    assert "\n" not in str(caught.value)


def start_or_go_on(recipe: str, out: Path) -> None:
    """What a person would do after a crash."""
    torch.set_num_threads(1)
    if (out / STATE).exists():
        resume(out, Streets())
    else:
        start(Recipe.model_validate_json(recipe), Streets(), out)


@pytest.mark.slow
def test_killed_at_six_moments_the_run_ends_with_the_same_bits(
    tiny: Make, streets: Streets, tmp_path: Path
) -> None:
    """Of real signals; before and in the middle of every step: tests/fuzz/crashes.py."""
    recipe = tiny({"schedule.epochs": 6})
    start(recipe, streets, tmp_path / "whole")
    out, moments = tmp_path / "killed", random.Random(0)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["artoolkit.training.run"])
    for _ in range(6):
        child = context.Process(target=start_or_go_on, args=(recipe.model_dump_json(), out))
        child.start()
        time.sleep(moments.uniform(0.1, 1.5))
        child.kill()
        child.join()
    start_or_go_on(recipe.model_dump_json(), out)
    assert same_run(tmp_path / "whole", out)


def test_two_runs_do_not_write_to_one_folder(
    tiny: Callable[..., Recipe], streets: Streets, tmp_path: Path
) -> None:
    with owned(tmp_path), pytest.raises(UsageError, match="another process works in"):
        start(tiny(), streets, tmp_path)
    assert not (tmp_path / "recipe.toml").exists()
    assert start(tiny({"schedule.epochs": 1}), streets, tmp_path).finished
    with owned(tmp_path), pytest.raises(UsageError, match="another process works in"):
        resume(tmp_path, streets)


def test_what_cannot_be_resumed_is_told_apart(tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("none", "other", "early")}
    folders["other"].mkdir()
    folders["early"].mkdir()
    (folders["early"] / "recipe.toml").write_text("")
    said = {"none": "does not exist", "other": "the folder of the run", "early": "Nothing is lost"}
    for name, words in said.items():
        with pytest.raises(TrainingError, match=words):
            require_state(folders[name])
