from __future__ import annotations

from pathlib import Path

import loader
import numpy as np
import pytest
from click.testing import CliRunner

from artoolkit.data import open_dataset
from artoolkit.data.synthetic import synthesize
from artoolkit.training.recipe import Augmentation

SETTINGS = {"crop": (48, 80), "scale": (0.5, 2.0), "contrast": 0.3, "saturation": 0.3}


def test_all_pipelines_do_the_same_work(tmp_path: Path) -> None:
    synthesize(tmp_path / "data", train=2, val=1, size_hw=(64, 96))
    data = open_dataset("cityscapes", tmp_path / "data")
    settings = Augmentation.model_validate(SETTINGS)
    rows = loader.pipelines(data, data.samples("train"), settings, tmp_path / "kept")
    for turn in range(6):
        made = {name: row(turn, 0) for name, row in rows.items()}
        for name in (loader.OWN, loader.CACHED, loader.PLAIN):
            image, labels = made[name]
            assert (image.shape, labels.shape) == ((48, 80, 3), (48, 80)), name
            assert image.dtype == labels.dtype == np.uint8
            assert image.flags.c_contiguous and labels.flags.c_contiguous
            known = set(range(data.labels.num_classes)) | {255}
            assert set(np.unique(labels).tolist()) <= known
        for ours, kept in zip(made[loader.OWN], made[loader.CACHED], strict=True):
            np.testing.assert_array_equal(ours, kept)


def test_without_changes_all_give_the_picture_itself(tmp_path: Path) -> None:
    synthesize(tmp_path / "data", train=1, val=1, size_hw=(64, 96))
    data = open_dataset("cityscapes", tmp_path / "data")
    settings = Augmentation.model_validate({"crop": (64, 96), "flip": 0.0})
    rows = loader.pipelines(data, data.samples("train"), settings, tmp_path / "kept")
    for ours, plain in zip(rows[loader.OWN](0, 0), rows[loader.PLAIN](0, 0), strict=True):
        np.testing.assert_array_equal(ours, plain)


def test_ratios_are_paired_and_the_medians_are_printed() -> None:
    raw = {loader.OWN: [0.1, 0.2, 0.1], loader.PLAIN: [0.3, 0.4, 0.2]}
    assert loader.table(raw)[2:] == [
        "| artoolkit | 10.0 | 2.00 |",
        "| PIL and numpy | 3.3 | 1.00 |",
    ]


def test_every_image_is_timed_every_round_but_the_first() -> None:
    calls: list[tuple[int, int]] = []
    samples = loader.measured({"a": lambda *key: calls.append(key)}, images=2, rounds=3)
    assert calls == [(turn, index) for turn in range(4) for index in range(2)]
    assert len(samples["a"]) == 6


def test_the_command_runs_on_generated_streets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "GENERATED_HW", (64, 128))
    done = CliRunner().invoke(
        loader.main, ["--recipe", "camvid", "--images", "2", "--rounds", "1", "--no-save"]
    )
    assert done.exit_code == 0, done.output
    assert "| artoolkit, decoded cache |" in done.output
