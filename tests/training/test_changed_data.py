"""What a run begins on is looked at, and what it goes on with is held to what it began on."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from artoolkit.data import open_dataset
from artoolkit.data.dataset import Pairs
from artoolkit.data.image_files import write_png
from artoolkit.errors import DataError, TrainingError
from artoolkit.networks.checkpoint import read_checkpoint
from artoolkit.training.recipe import Recipe
from artoolkit.training.run import resume
from artoolkit.training.run import start as train
from artoolkit.training.state import read_state
from artoolkit.training.survey import survey

Make = Callable[..., Recipe]
CLASSES = """
[[classes]]
name = "ground"
[[classes]]
name = "person"
[[classes]]
name = "wall"
[splits.train]
images = "train/images"
labels = "train/labels"
[splits.val]
images = "val/images"
labels = "val/labels"
"""


@pytest.fixture
def yard(tmp_path: Path) -> Path:
    """A described folder of four images to train on and two to judge by."""
    root = tmp_path / "yard"
    random = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for index in range(count):
            labels = np.kron(random.integers(0, 3, (2, 3)), np.ones((16, 16))).astype(np.uint8)
            write_png(np.stack([labels * 80] * 3, -1), root / split / "images" / f"{index}.png")
            write_png(labels, root / split / "labels" / f"{index}.png")
    (root / "classes.toml").write_text(CLASSES)
    return root


def opened(yard: Path) -> Pairs:
    return open_dataset("folder", yard)


@pytest.fixture
def begun(yard: Path, tiny: Make, tmp_path: Path) -> Path:
    assert train(tiny({"schedule.epochs": 1}), opened(yard), tmp_path / "run").finished
    return tmp_path / "run"


def fewer(yard: Path) -> None:
    for part in ("images", "labels"):
        (yard / "train" / part / "3.png").unlink()


def renamed(yard: Path) -> None:
    for part in ("images", "labels"):
        (yard / "train" / part / "3.png").rename(yard / "train" / part / "9.png")


def drawn_again(yard: Path) -> None:
    write_png(np.zeros((32, 48), np.uint8), yard / "val" / "labels" / "1.png")


def photographed_again(yard: Path) -> None:
    write_png(np.full((32, 48, 3), 9, np.uint8), yard / "train" / "images" / "0.png")


def photographed_again_as_large(yard: Path) -> None:
    one, two = (yard / "train" / "images" / f"{index}.png" for index in (0, 1))
    first = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(first)


def drawn_again_by_color(yard: Path) -> None:
    """The same numbers, now an index into a palette: files of other bytes."""
    path = yard / "train" / "labels" / "2.png"
    with Image.open(path) as picture:
        indices = picture.convert("P")
    indices.save(path)


def no_longer_there(yard: Path) -> None:
    shutil.rmtree(yard / "val" / "images")
    shutil.copytree(yard / "train" / "images", yard / "val" / "images")
    shutil.rmtree(yard / "val" / "labels")
    shutil.copytree(yard / "train" / "labels", yard / "val" / "labels")


def renumbered(yard: Path) -> None:
    (yard / "classes.toml").write_text("void = [255, 254]\n" + CLASSES)


CHANGES = [
    (fewer, "train has 3 images, had 4"),
    (renamed, "train has other label files, or names"),
    (drawn_again, "val has other label files, or names"),
    (photographed_again, "train has other image files"),
    (photographed_again_as_large, "train has other image files"),
    (drawn_again_by_color, "train has other label files, or names"),
    (no_longer_there, "val has 4 images, had 2"),
    (renumbered, "the ids of void are 255, 254, were 255"),
]


@pytest.mark.parametrize(("change", "phrase"), CHANGES, ids=lambda c: getattr(c, "__name__", ""))
def test_changed_data_are_refused_or_recorded(
    begun: Path, yard: Path, change: Callable[[Path], None], phrase: str
) -> None:
    assert resume(begun, opened(yard)).finished
    change(yard)
    with pytest.raises(TrainingError) as caught:
        resume(begun, opened(yard))
    assert phrase in str(caught.value)
    assert "--changed-data" in (caught.value.hint or "")
    assert resume(begun, opened(yard), changed_data=True).finished


def test_what_was_changed_stands_in_the_checkpoint(
    yard: Path, tiny: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    recipe = tiny({"schedule.epochs": 2})
    from artoolkit.training.epochs import Run

    stop = Run._finish_epoch

    def stopped(self, epoch, history):
        if epoch == 1:
            raise KeyboardInterrupt
        return stop(self, epoch, history)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Run, "_finish_epoch", stopped)
        train(recipe, opened(yard), out)
    before = read_state(out).provenance["data"]
    fewer(yard)
    resume(out, opened(yard), changed_data=True)
    provenance = read_checkpoint(out / "model.safetensors").meta.provenance
    assert provenance["data"]["train"]["images"] == 3
    assert provenance["data_before"] == [{"epoch": 1, "step": 0, "data": before}]


@pytest.mark.parametrize(
    "classes",
    [
        CLASSES.replace('[[classes]]\nname = "wall"\n', ""),
        CLASSES.replace('"wall"', '"fence"'),
        CLASSES.replace("ground", "x").replace("person", "ground").replace("x", "person"),
        CLASSES.replace("[splits.train]", '[[classes]]\nname = "sky"\n[splits.train]'),
    ],
    ids=["fewer", "renamed", "in another order", "more"],
)  # fmt: skip
def test_other_classes_are_refused_in_any_case(begun: Path, yard: Path, classes: str) -> None:
    (yard / "classes.toml").write_text(classes)
    for changed_data in (False, True):
        with pytest.raises(TrainingError, match="the run has other classes"):
            resume(begun, opened(yard), changed_data=changed_data)


@pytest.mark.parametrize("split", ["train", "val"])
def test_labels_of_void_alone_are_refused_before_a_step(
    yard: Path, tiny: Make, tmp_path: Path, split: str
) -> None:
    for path in (yard / split / "labels").iterdir():
        write_png(np.full((32, 48), 255, np.uint8), path)
    with pytest.raises(DataError, match=f"every pixel of the . {split} labels is void"):
        train(tiny(), opened(yard), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_warnings_are_logged_in_short(
    yard: Path, tiny: Make, caplog: pytest.LogCaptureFixture
) -> None:
    for path in (yard / "train" / "labels").iterdir():
        write_png(np.zeros((32, 48), np.uint8), path)
    (yard / "train" / "images" / "0.png").rename(yard / "train" / "images" / "0.PNG")
    with caplog.at_level(logging.WARNING):
        survey(tiny(), opened(yard), say=False)
        assert not caplog.messages
        survey(tiny(), opened(yard))
    text = "\n".join(caplog.messages)
    for part in ("2 classes without a pixel: person, wall", "1 .PNG", "has no image", "data check"):
        assert part in text
