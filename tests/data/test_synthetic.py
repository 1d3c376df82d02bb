"""The generated data set on disk: layout, determinism, completion, refusals."""

import numpy as np
import pytest

from artoolkit.data import open_dataset
from artoolkit.data.synthetic import synthesize
from artoolkit.errors import StorageError, UsageError

SMALL = {"train": 3, "val": 2, "size_hw": (32, 64)}


def contents(root):
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_it_is_read_as_cityscapes(tmp_path):
    synthesize(tmp_path, **SMALL)
    dataset = open_dataset("cityscapes", tmp_path)
    assert dataset.splits() == ("train", "val")
    for split, count in (("train", 3), ("val", 2)):
        samples = dataset.samples(split)
        assert len(samples) == count
        for sample in samples:
            assert dataset.read_image(sample).shape == (32, 64, 3)
            assert dataset.read_label(sample).shape == (32, 64)


def test_files_depend_on_the_seed_only(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        synthesize(tmp_path / name, seed=seed, **SMALL)
    a, b, c = (contents(tmp_path / name) for name in "abc")
    assert a == b
    assert not {v for k, v in a.items() if "leftImg8bit" in k} & set(c.values())


@pytest.mark.slow
def test_workers_do_not_change_the_files(tmp_path):
    for name, workers in (("one", 1), ("two", 2)):
        synthesize(tmp_path / name, train=4, val=2, size_hw=(32, 64), workers=workers)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_training_and_validation_share_no_picture(tmp_path):
    synthesize(tmp_path, **SMALL)
    dataset = open_dataset("cityscapes", tmp_path)
    images = [dataset.read_image(s) for split in ("train", "val") for s in dataset.samples(split)]
    assert len({image.tobytes() for image in images}) == 5


def test_an_interrupted_set_is_completed_and_progress_counts_all(tmp_path):
    synthesize(tmp_path, **SMALL)
    before = contents(tmp_path)
    sample = open_dataset("cityscapes", tmp_path).samples("train")[1]
    sample.image.unlink()
    seen = []
    synthesize(tmp_path, progress=lambda *counts: seen.append(counts), **SMALL)
    assert contents(tmp_path) == before
    assert seen == [(5, 5)]


def test_another_data_set_is_not_overwritten(tmp_path):
    synthesize(tmp_path, **SMALL)
    with pytest.raises(UsageError, match=r"holds another data set already; .*'seed': 0.*'seed': 1"):
        synthesize(tmp_path, seed=1, **SMALL)
    (tmp_path / "real" / "leftImg8bit").mkdir(parents=True)
    with pytest.raises(UsageError, match="holds another data set already"):
        synthesize(tmp_path / "real", **SMALL)


@pytest.mark.parametrize(
    "changes", [{"train": 0}, {"val": 0}, {"size_hw": (16, 64)}, {"seed": -1}, {"workers": 0}]
)
def test_impossible_sets_are_refused(tmp_path, changes):
    with pytest.raises(UsageError, match="cannot be generated"):
        synthesize(tmp_path, **(SMALL | changes))


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        synthesize(tmp_path / "file", **SMALL)


def test_pictures_use_the_whole_range_of_light(tmp_path):
    synthesize(tmp_path, train=12, val=1, size_hw=(32, 64))
    dataset = open_dataset("cityscapes", tmp_path)
    means = [dataset.read_image(sample).mean() for sample in dataset.samples("train")]
    assert np.ptp(means) > 20
