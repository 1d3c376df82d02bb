from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from artoolkit.data import open_dataset
from artoolkit.data.dataset import Pairs
from artoolkit.data.synthetic import synthesize
from artoolkit.errors import DataError, StorageError
from artoolkit.training.decoded import Decoded, default_folder
from artoolkit.training.processes import Machine
from artoolkit.training.recipe import Recipe
from artoolkit.training.run import start


@pytest.fixture
def town(tmp_path: Path) -> Pairs:
    synthesize(tmp_path / "town", train=4, val=1, size_hw=(64, 96))
    return open_dataset("cityscapes", tmp_path / "town")


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_the_arrays_are_those_of_the_data_set_and_decoded_once(town: Pairs, tmp_path: Path) -> None:
    kept = Decoded(town, tmp_path / "kept")
    (sample, *_) = kept.samples("train")
    for _ in range(2):
        np.testing.assert_array_equal(kept.read_image(sample), town.read_image(sample))
        np.testing.assert_array_equal(kept.read_label(sample), town.read_label(sample))
    assert len(files(tmp_path / "kept")) == 2
    np.testing.assert_array_equal(kept.read_label(sample), town.read_label(sample))
    # Nothing of the picture but its size and time is looked at again.
    found = sample.image.stat()
    sample.image.write_bytes(bytes(found.st_size))
    os.utime(sample.image, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert kept.read_image(sample).any()
    assert not kept.read_image(sample).flags.writeable


def test_a_changed_picture_is_decoded_again(town: Pairs, tmp_path: Path) -> None:
    kept = Decoded(town, tmp_path / "kept")
    first, second, *_ = kept.samples("train")
    kept.read_image(first)
    first.image.write_bytes(second.image.read_bytes())
    os.utime(first.image, ns=(1, 1))
    np.testing.assert_array_equal(kept.read_image(first), town.read_image(second))


@pytest.mark.parametrize("length", [0, 50, 500])
def test_a_file_that_was_cut_is_decoded_again(length: int, town: Pairs, tmp_path: Path) -> None:
    kept = Decoded(town, tmp_path / "kept")
    (sample, *_) = kept.samples("train")
    kept.read_image(sample)
    (path,) = files(tmp_path / "kept")
    whole = path.read_bytes()
    path.write_bytes(whole[:length])
    np.testing.assert_array_equal(kept.read_image(sample), town.read_image(sample))
    assert path.read_bytes() == whole


def test_what_is_wrong_with_a_picture_is_said_as_without(town: Pairs, tmp_path: Path) -> None:
    kept = Decoded(town, tmp_path / "kept")
    sample, gone, *_ = kept.samples("train")
    sample.image.write_bytes(sample.image.read_bytes()[:100])
    gone.image.unlink()
    for one, message in ((sample, "cannot be read"), (gone, "no image at")):
        with pytest.raises(DataError, match=message):
            kept.read_image(one)
    assert not files(tmp_path / "kept")


def test_a_folder_that_cannot_be_written_is_one_line(town: Pairs, tmp_path: Path) -> None:
    (tmp_path / "kept").touch()
    kept = Decoded(town, tmp_path / "kept")
    with pytest.raises(StorageError, match=r"cannot be kept in .*data\.cache=false") as caught:
        kept.read_image(kept.samples("train")[0])
    assert "\n" not in str(caught.value)


def read_all(kept: Decoded) -> None:
    for _ in range(3):
        for sample in kept.samples("train"):
            assert np.array_equal(kept.read_image(sample), kept.dataset.read_image(sample))
            assert np.array_equal(kept.read_label(sample), kept.dataset.read_label(sample))


def test_several_processes_fill_one_folder(town: Pairs, tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    kept = Decoded(town, tmp_path / "kept")
    workers = [context.Process(target=read_all, args=(kept,)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert [path.suffix for path in files(tmp_path / "kept")] == [".npy"] * 8


def test_a_recipe_asks_for_it_and_the_run_is_the_same(
    town: Pairs, tiny: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    losses = {}
    for cache in (False, True):
        out = tmp_path / str(cache)
        recipe = tiny({"data.cache": cache, "schedule.epochs": 1})
        start(recipe, town, out, machine=Machine(workers=1))
        rows = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
        losses[cache] = [row["loss"] for row in rows if "loss" in row]
        assert default_folder().exists() == cache
    assert losses[False] == losses[True]
    assert len(files(default_folder())) == 10
