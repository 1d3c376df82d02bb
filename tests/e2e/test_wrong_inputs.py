"""What goes wrong for users: one clear line, the documented exit code, never a traceback."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_journey import Journey

from artoolkit.cli import run

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("journey")]

DATA, CHECKPOINT, BUNDLE, RECIPE, USAGE = 4, 5, 6, 7, 2


@pytest.fixture
def streets(journey: Journey, tmp_path: Path) -> Path:
    """A copy of the data set that a test may spoil."""
    return Path(shutil.copytree(journey.root / "data", tmp_path / "data"))


def a_label(root: Path) -> Path:
    return sorted((root / "gtFine" / "val").rglob("*_labelIds.png"))[0]


def assert_refused(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, *words: str
) -> None:
    """One line on standard error that holds `words`, and the exit code."""
    capsys.readouterr()
    assert run(arguments) == code
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    for word in words:
        assert word in lines[0]


def train(journey: Journey, root: Path, out: Path, *more: str) -> tuple[str, ...]:
    return (
        "train", "--recipe", str(journey.root / "tiny.toml"), "--dataset", "cityscapes",
        "--data-root", str(root), "--workers", "0", "--out", str(out), *more,
    )  # fmt: skip


def test_missing_data_root(
    journey: Journey, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "nothing"
    assert_refused(
        capsys, train(journey, missing, tmp_path / "run"), DATA, str(missing), "--data-root"
    )
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_empty_split(
    journey: Journey, streets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(streets / "leftImg8bit" / "train")
    (streets / "leftImg8bit" / "train" / "city").mkdir(parents=True)
    assert_refused(capsys, train(journey, streets, tmp_path / "run"), DATA, "train", "empty")


def test_label_of_another_size(
    journey: Journey, streets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    label = a_label(streets)
    Image.fromarray(np.full((32, 64), 7, np.uint8)).save(label)
    arguments = (
        "evaluate",
        str(journey.bundle),
        "--dataset",
        "cityscapes",
        "--data-root",
        str(streets),
    )
    assert_refused(capsys, arguments, DATA, label.name, "32 x 64", "64 x 128")


def test_id_out_of_range(
    journey: Journey, streets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    label = a_label(streets)
    Image.fromarray(np.full((64, 128), 77, np.uint8)).save(label)
    arguments = (
        "evaluate",
        str(journey.bundle),
        "--dataset",
        "cityscapes",
        "--data-root",
        str(streets),
    )
    assert_refused(capsys, arguments, DATA, label.name, "77")


def test_truncated_png(
    journey: Journey, streets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = sorted((streets / "leftImg8bit" / "train").rglob("*.png"))[0]
    image.write_bytes(image.read_bytes()[:2000])
    assert_refused(capsys, train(journey, streets, tmp_path / "run"), DATA, image.name)
    assert_refused(
        capsys,
        ("predict", str(journey.bundle), str(image), "--out", str(tmp_path)),
        DATA,
        image.name,
    )


def test_checkpoint_of_another_network(
    journey: Journey, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from artoolkit.deploy.untrained import untrained_checkpoint
    from artoolkit.networks.checkpoint import write_checkpoint

    path = tmp_path / "other.safetensors"
    write_checkpoint(path, untrained_checkpoint("icnet", 19))
    arguments = (
        "export",
        journey.checkpoint("ar"),
        "--baseline",
        str(path),
        "--imgsz",
        "64",
        "128",
        "--out",
        str(tmp_path / "bundle"),
    )
    assert_refused(capsys, arguments, CHECKPOINT, "differ", "width")
    assert not (tmp_path / "bundle").exists()


def test_checkpoint_of_another_class_count(
    journey: Journey, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from artoolkit.deploy.untrained import untrained_checkpoint
    from artoolkit.networks.checkpoint import write_checkpoint

    path = tmp_path / "eleven.safetensors"
    write_checkpoint(path, untrained_checkpoint("icnet", 11))
    recipe = tmp_path / "icnet.toml"
    tiny = (journey.root / "tiny.toml").read_text()
    recipe.write_text(tiny.replace("options = { width = 0.125 }", ""))
    arguments = (
        "finetune",
        "--baseline",
        str(path),
        "--recipe",
        str(recipe),
        *journey.data,
        "--out",
        str(tmp_path / "run"),
    )
    assert_refused(capsys, arguments, CHECKPOINT, "11", "19")


def test_a_pickle_given_as_checkpoint(
    journey: Journey, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps({"weight": [1.0]}))
    assert_refused(
        capsys, ("export", str(path), "--out", str(tmp_path / "bundle")), CHECKPOINT, str(path)
    )


def test_a_bundle_with_a_missing_file(
    journey: Journey, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = Path(shutil.copytree(journey.bundle, tmp_path / "bundle"))
    (bundle / "golden.npz").unlink()
    assert_refused(capsys, ("benchmark", str(bundle)), BUNDLE, "golden.npz is missing")
    assert run(("verify", str(bundle), "--json")) == 1
    assert "golden.npz" in capsys.readouterr().out


def test_a_recipe_with_several_mistakes(
    journey: Journey, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = ("--set", "optimizer.lr=-1", "--set", "schedule.epoch=3", "--set", "nonsense")
    assert_refused(
        capsys,
        train(journey, journey.root / "data", tmp_path / "run", *wrong),
        RECIPE,
        "optimizer.lr",
        "schedule.epoch",
        "nonsense",
    )


def test_options_that_click_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(("export", "--imgsz", "64")) == USAGE
    assert run(("evaluate",)) == USAGE
    assert "Traceback" not in capsys.readouterr().err


def test_neither_checkpoint_nor_untrained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_refused(capsys, ("export", "--out", str(tmp_path / "b")), USAGE, "--untrained")
