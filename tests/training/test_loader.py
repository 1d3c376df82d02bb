from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from small_town import data, make_town
from streets import Streets

from artoolkit.errors import DataError, RecipeError, TrainingError
from artoolkit.training.loader import (
    EpochBatches,
    EvaluationImages,
    TrainingImages,
    fetched,
    selected,
    step_seed,
    training_loader,
    worker_deaths,
)
from artoolkit.training.recipe import Augmentation, Selection
from artoolkit.training.transforms import Transform

TRANSFORM = Transform(Augmentation(crop=(16, 24), scale=(0.5, 2.0), contrast=0.3), (0, 0, 0))


def training_images(dataset: Streets, seed: int = 1) -> TrainingImages:
    images = EvaluationImages(dataset, dataset.samples("train"))
    return TrainingImages(images, TRANSFORM, seed)


def epochs(
    count: int, *, workers: int = 0, first: tuple[int, int] = (0, 0)
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """All batches of `count` epochs, from (epoch, step) `first` on."""
    batches = EpochBatches(6, 2, seed=1)
    loader = training_loader(training_images(Streets()), batches, workers=workers, pin_memory=False)
    made = []
    for epoch in range(first[0], count):
        batches.epoch, batches.first_step = epoch, first[1] if epoch == first[0] else 0
        made += list(fetched(loader))
    return made


def same(left: list, right: list) -> bool:
    return len(left) == len(right) and all(
        torch.equal(a, c) and torch.equal(b, d) for (a, b), (c, d) in zip(left, right, strict=True)
    )


def test_a_batch_is_bytes_of_the_crops_size() -> None:
    images, labels = epochs(1)[0]
    assert images.shape == (2, 16, 24, 3)
    assert labels.shape == (2, 16, 24)
    assert images.dtype == labels.dtype == torch.uint8


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(workers: int) -> None:
    assert same(epochs(2), epochs(2, workers=workers))


def test_epochs_differ_and_an_interrupted_one_goes_on_with_the_same_batches() -> None:
    whole = epochs(2)
    assert not same(whole[:3], whole[3:])
    assert same(whole[4:], epochs(2, first=(1, 1)))
    assert same(whole[3:], epochs(2, first=(1, 0)))


def test_a_sample_depends_on_seed_epoch_and_index_alone() -> None:
    images, other = training_images(Streets()), training_images(Streets(), seed=2)
    first = images[0, 1]
    images[0, 2]
    np.testing.assert_array_equal(first[0], images[0, 1][0])
    assert not np.array_equal(first[0], images[1, 1][0])
    assert not np.array_equal(first[0], other[0, 1][0])


def test_an_epoch_sees_every_image_once_and_drops_an_incomplete_batch() -> None:
    batches = EpochBatches(7, 2, seed=5)
    keys = list(batches)
    assert len(keys) == len(batches) == 3
    indices = [index for batch in keys for _, index in batch]
    assert len(set(indices)) == 6
    batches.epoch = 1
    assert [key for batch in batches for key in batch] != [key for batch in keys for key in batch]
    batches.first_step = 2
    assert len(list(batches)) == len(batches) == 1


def test_processes_share_the_batches_of_one() -> None:
    alone = list(EpochBatches(12, 4, seed=5))
    shared = [list(EpochBatches(12, 4, seed=5, rank=rank, world_size=2)) for rank in range(2)]
    for whole, *parts in zip(alone, *shared, strict=True):
        assert all(len(part) == 2 for part in parts)
        assert sorted(key for part in parts for key in part) == sorted(whole)


def test_a_batch_must_fit_the_data_and_the_processes() -> None:
    with pytest.raises(RecipeError, match="batch_size is larger than the training set; got 8"):
        EpochBatches(7, 8, seed=1)
    with pytest.raises(RecipeError, match="got 8; expected a multiple of 3"):
        EpochBatches(20, 8, seed=1, world_size=3)


def test_samples_are_selected_by_split_and_name() -> None:
    streets = Streets()
    both = selected(streets, Selection(splits=("train", "val"), names=("*_0", "*_1")))
    assert [sample.name for sample in both] == ["train_0", "train_1", "val_0", "val_1"]
    with pytest.raises(DataError, match=r"splits train and names none\*"):
        selected(streets, Selection(splits=("train",), names=("none*",)))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_fails_is_a_data_error_of_one_line(workers: int) -> None:
    streets = Streets(broken="train_3")
    batches = EpochBatches(6, 2, seed=1)
    loader = training_loader(training_images(streets), batches, workers=workers, pin_memory=False)
    with pytest.raises(DataError, match=r"train_3\.png cannot be read") as caught:
        list(fetched(loader))
    assert "\n" not in str(caught.value)


def test_a_dead_worker_is_a_training_error_of_one_line() -> None:
    streets = Streets(deadly="train_3")
    batches = EpochBatches(6, 2, seed=1)
    loader = training_loader(training_images(streets), batches, workers=1, pin_memory=False)
    with pytest.raises(TrainingError, match="loads images died") as caught, worker_deaths():
        list(fetched(loader))
    assert "\n" not in str(caught.value)


def test_full_shared_memory_ends_training_and_is_named() -> None:
    """A limit on the size of files holds for those in shared memory too."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
        with pytest.raises(TrainingError, match="/dev/shm") as caught, worker_deaths():
            epochs(1, workers=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "workers", "code"), [("64k", 2, 11), ("64k", 4, 11), ("64m", 2, 0)]
)
def test_training_with_a_small_shm_ends_or_trains(
    tmp_path: Path, size: str, workers: int, code: int
) -> None:
    mount = f"mount -t tmpfs -o size={size} tmpfs /dev/shm"
    if subprocess.run(["unshare", "-m", "sh", "-c", mount], check=False).returncode:
        pytest.skip("this system allows no private mount")
    town = make_town(tmp_path, epochs=1)
    verb = (sys.executable, "-m", "artoolkit", "train", "--recipe", town / "tiny.toml", *data(town))
    line = shlex.join(map(str, (*verb, "--workers", workers, "--out", town / "run")))
    done = subprocess.run(["unshare", "-m", "sh", "-c", f"{mount} && exec {line}"], text=True,
                          capture_output=True, timeout=120, check=False)  # fmt: skip
    assert done.returncode == code, done.stderr
    assert ("/dev/shm" in done.stderr) == (code == 11)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("error", [ConnectionResetError, EOFError, FileNotFoundError])
def test_a_worker_that_dies_while_its_batch_is_taken_over_is_the_same(
    error: type[Exception],
) -> None:
    def batches() -> Iterator[object]:
        raise error
        yield

    with pytest.raises(TrainingError, match="loads images died") as caught:
        next(fetched(batches()))  # type: ignore[arg-type]  # what iterating a loader does
    assert error.__name__ in str(caught.value)


def test_other_runtime_errors_pass_through() -> None:
    with pytest.raises(RuntimeError, match="something else"), worker_deaths():
        raise RuntimeError("something else")


def test_step_seeds_differ_by_step_and_by_seed() -> None:
    seeds = {step_seed(seed, step) for seed in range(10) for step in range(100)}
    assert len(seeds) == 1000
    assert step_seed(1, 5) == step_seed(1, 5)
