"""`train` and `finetune` as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from public_reference import NARROW, imagenet_trunk
from small_town import data, make_town, tiny_recipe

from artoolkit.cli import run
from artoolkit.networks import build
from artoolkit.networks.checkpoint import read_checkpoint
from artoolkit.networks.published import trunk_state
from artoolkit.training.recipe import load_recipe


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set, a recipe and a trained baseline in one folder."""
    return make_town(tmp_path_factory.mktemp("town"), epochs=2)


def finetune(town: Path, out: Path, *more: str) -> int:
    baseline = ("--baseline", str(town / "base" / "model.safetensors"))
    return run(("finetune", *baseline, *data(town), "--out", str(out), *more))


def test_options_replace_values_of_the_recipe(town: Path, tmp_path: Path) -> None:
    code = run(
        ("train", "--recipe", str(town / "tiny.toml"), *data(town), "--out", str(tmp_path),
         "--epochs", "1", "--batch-size", "4", "--lr", "0.5", "--seed", "7", "--imgsz", "32", "32",
         "--set", "optimizer.momentum=0.5")
    )  # fmt: skip
    assert code == 0
    recipe = load_recipe(str(tmp_path / "recipe.toml"))
    assert (recipe.schedule.epochs, recipe.schedule.batch_size) == (1, 4)
    assert (recipe.optimizer.lr, recipe.optimizer.momentum) == (0.5, 0.5)
    assert (recipe.seed, recipe.augmentation.crop) == (7, (32, 32))
    assert recipe.data.dataset == "cityscapes"


def test_the_result_is_printed(
    town: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert finetune(town, tmp_path / "ar") == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines()[0].startswith("mIoU ")
    assert shown.out.splitlines()[1] == str(tmp_path / "ar" / "model.safetensors")
    assert "AR weight 20" in shown.err


def test_finetune_and_its_control_differ_in_the_weight_alone(town: Path, tmp_path: Path) -> None:
    assert finetune(town, tmp_path / "ar", "--ar-weight", "5", "--ar-grid", "all") == 0
    assert finetune(town, tmp_path / "control", "--ar-grid", "all", "--control") == 0
    recipes = [load_recipe(str(tmp_path / arm / "recipe.toml")) for arm in ("ar", "control")]
    assert [recipe.loss.ar_weight for recipe in recipes] == [5.0, 0.0]
    same = recipes[0].loss.model_copy(update={"ar_weight": 0.0})
    assert recipes[0].model_copy(update={"loss": same}) == recipes[1]
    states = [
        read_checkpoint(folder / "model.safetensors").state
        for folder in (town / "base", tmp_path / "ar", tmp_path / "control")
    ]
    assert states[0].keys() == states[1].keys() == states[2].keys()


def test_a_teacher_and_the_other_remedies_are_options(
    town: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = ("--teacher", str(town / "base" / "model.safetensors"))
    assert (
        finetune(
            town, tmp_path, *teacher, "--affinity-distillation", "2", "--ar-weight", "0",
            "--class-weights", "median-frequency", "--label-smoothing", "0.1", "--ohem", "0.9",
            "--boundary-weight", "2", "--photometric", "0.2", "--average-epochs", "1",
        )
        == 0
    )  # fmt: skip
    recipe = load_recipe(str(tmp_path / "recipe.toml"))
    assert list(recipe.loss.terms) == ["affinity_distillation"]
    loss = recipe.loss
    assert (loss.class_weights, loss.label_smoothing) == ("median-frequency", 0.1)
    assert (loss.boundary_weight, recipe.optimizer.average_epochs) == (2, 1)
    assert (recipe.augmentation.brightness, recipe.augmentation.saturation) == (0.2, 0.2)
    rows = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert all(row["affinity_distillation"] > 0 for row in rows if row["kind"] == "iteration")
    capsys.readouterr()
    resume = ("train", "--resume", *data(town), "--out", str(tmp_path))
    assert run(resume) == 2
    assert "the run has other teachers; got none; expected icnet " in capsys.readouterr().err
    assert run((*resume, *teacher)) == 0


def test_a_recipe_given_to_finetune_keeps_its_own_loss(town: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "own.toml"
    recipe.write_text(tiny_recipe(2) + '[loss]\nar_weight = 2.0\nar_grid = "jitter"\n')
    assert finetune(town, tmp_path / "own", "--recipe", str(recipe), "--epochs", "1") == 0
    loss = load_recipe(str(tmp_path / "own" / "recipe.toml")).loss
    assert (loss.ar_weight, loss.ar_grid) == (2.0, "jitter")


def test_a_run_is_not_overwritten_and_resumes_only_as_itself(
    town: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = ("train", "--recipe", str(town / "tiny.toml"), *data(town), "--out", str(town / "base"))
    assert run(again) == 2
    assert "holds a run already. Use --resume" in capsys.readouterr().err
    assert run((*again, "--resume")) == 0
    assert run(("train", "--resume", "--out", str(town / "base"), *data(town))) == 0
    capsys.readouterr()
    assert run((*again, "--resume", "--epochs", "9", "--lr", "0.5")) == 2
    message = capsys.readouterr().err
    assert "optimizer.lr 0.05 instead of 0.5; schedule.epochs 2 instead of 9" in message


def test_a_stopped_run_says_how_to_go_on(
    town: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "broken"
    labels = sorted((town / "data").glob("gtFine/train/*/*labelIds.png"))
    whole = labels[0].read_bytes()
    labels[0].write_bytes(whole[: len(whole) // 2])
    try:
        code = run(("train", "--recipe", str(town / "tiny.toml"), *data(town), "--out", str(out)))
    finally:
        labels[0].write_bytes(whole)
    assert code == 4
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("error: label ")
    assert labels[0].name in lines[-1]
    command = next(line for line in lines if line.startswith("The run is kept"))
    arguments = command.split("artoolkit ", 1)[1].split()
    assert arguments[:4] == ["train", "--resume", "--out", str(out)]
    assert run((*arguments, "--workers", "0")) == 0
    assert read_checkpoint(out / "model.safetensors").meta.provenance["epoch"] == 2


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "no recipe; expected --recipe camvid|"),
        (("--recipe", "nothing"), 7, "unknown recipe"),
        (("--recipe", "camvid", "--set", "optimizer.lr=-1", "--set", "x"), 7, "'x' is not path"),
        (("--recipe", "camvid"), 2, "no data root for camvid"),
        (("--recipe", "camvid", "--data-root", "nowhere"), 4, "no data set at nowhere"),
        (("--recipe", "camvid", "--device", "tpu"), 2, "--device is unknown"),
        (("--resume",), 11, "no run to resume"),
        (("--recipe", "camvid", "--data-root", ".", "--init", "no.pt"), 5, "no weights at"),
    ],
)
def test_wrong_use_of_train(
    arguments: tuple[str, ...],
    code: int,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(("train", *arguments, "--out", str(tmp_path / "out"))) == code
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert message in lines[0]
    assert not (tmp_path / "out").exists()


def test_wrong_use_of_finetune(
    town: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    pickle = tmp_path / "model.pt"
    pickle.write_bytes(b"\x80\x04}q\x00.")
    wider = ("--set", "network.options.width=0.25")
    for code, message, arguments in (
        (2, "no baseline to start from", ("finetune", *data(town))),
        (5, "is a pickle", ("finetune", "--baseline", str(pickle), *data(town))),
        (5, "no checkpoint at", ("finetune", "--baseline", "no.safetensors", *data(town))),
    ):
        assert run((*arguments, "--out", str(out))) == code
        assert message in capsys.readouterr().err
    assert finetune(town, out, *wider) == 5
    assert "holds another network; got icnet, width=0.125" in capsys.readouterr().err
    assert finetune(town, out, "--ar-grid", "center", "--ar-stride", "4") == 7
    assert "belongs to the grid 'all'" in capsys.readouterr().err
    assert not out.exists()


def test_rows_hold_what_the_papers_table_and_figure_need(town: Path, tmp_path: Path) -> None:
    assert finetune(town, tmp_path / "ar") == 0
    lines = (tmp_path / "ar" / "metrics.jsonl").read_text().splitlines()
    steps = [row for row in map(json.loads, lines) if row["kind"] == "iteration"]
    assert steps
    for row in steps:
        assert {"cross_entropy", "affinity_regression", "lr", "step_s"} <= set(row)


def test_init_says_what_was_loaded_and_what_was_not(
    town: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = build("refinenet_lw50", num_classes=19, **NARROW)
    file, recipe = tmp_path / "resnet50.pth", tmp_path / "lw50.toml"
    torch.save({"state_dict": imagenet_trunk(network)}, file)
    recipe.write_text(tiny_recipe(1, optimizer="lr = 1e-12"))
    narrow = ("--network", "refinenet_lw50", "--option", "width=0.0625")
    command = ("train", "--recipe", str(recipe), *data(town), "--init", str(file))
    assert run((*command, *narrow, "--out", str(tmp_path / "run"))) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert (
        f"{file} (torchvision): 318 weights of the encoder loaded; not used: fc.weight, fc.bias; "
        "from seed 1: classifier, stages" in said
    )
    trained = read_checkpoint(tmp_path / "run" / "model.safetensors")
    assert trained.meta.options == {"width": 0.0625}
    key = "trunk.layer4.2.conv3.conv.weight"
    torch.testing.assert_close(trained.state[key], trunk_state(torch.load(file))[key])
    wrong = ("--network", "icnet_r50", "--option", "width=0.0625", "--out", str(tmp_path / "no"))
    assert run((*command, *wrong)) == 5
    assert "does not hold the encoder of icnet_r50" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_a_recipe_without_the_loss_gets_it_when_fine_tuning(town: Path, tmp_path: Path) -> None:
    recipe = ("--recipe", str(town / "tiny.toml"), "--epochs", "1")
    for arm, more, weight in (("ar", (), 20.0), ("control", ("--control",), 0.0)):
        assert finetune(town, tmp_path / arm, *recipe, *more) == 0
        assert load_recipe(str(tmp_path / arm / "recipe.toml")).loss.ar_weight == weight


def test_find_lr_shows_rates_suggests_one_and_writes_nothing(
    town: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from artoolkit.training import train

    monkeypatch.setattr(train.find_rate, "__kwdefaults__",
                        {**train.find_rate.__kwdefaults__, "steps": 7})  # fmt: skip
    monkeypatch.chdir(tmp_path)
    command = ("finetune", "--baseline", str(town / "base" / "model.safetensors"), *data(town))
    assert run((*command, "--find-lr")) == 0
    shown = capsys.readouterr()
    assert float(shown.out.removeprefix("--lr ")) > 0
    assert "1e-06" in shown.err
    assert not list(tmp_path.iterdir())
    assert run(command) == 2  # a run has to be somewhere
    assert "--out" in capsys.readouterr().err
