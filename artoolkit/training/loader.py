"""Batches of a data set, the same for any number of workers and after any interruption.

What a sample looks like depends on (seed, epoch, index) only, never on which worker made it or
what was made before: each draws from a generator of its own. Legend: B batch, H W pixels.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from artoolkit.data import DataSet, Sample
from artoolkit.errors import ArtoolkitError, DataError, RecipeError, TrainingError
from artoolkit.fresh_process import isolated_workers
from artoolkit.losses.terms import LabelMap
from artoolkit.training.recipe import Selection
from artoolkit.training.transforms import Transform

Batch = tuple[Tensor, ...]  # images, labels, and in training the maps made of the labels
Key = tuple[int, int]  # epoch, index
Item = tuple[NDArray[Any], ...] | ArtoolkitError

GRACE_S = 60  # how long a worker that is asked to end goes on, so that a step can be finished

_SHARED = Path("/dev/shm")  # where batches of workers are handed over, on Linux
# A worker's queues have locks there, a page each; four workers did not fit into 64 KB, and torch
# waited for more than a minute before it failed half-built.
_LEAST_SHARED = 128 << 10

# The first word of a generator's seed: no two kinds of draw may share a stream.
ORDER, AUGMENT, STEP = 1, 2, 3


def selected(dataset: DataSet, selection: Selection) -> tuple[Sample, ...]:
    """The samples of a recipe's selection, in the order of the splits, or a `DataError`."""
    samples = tuple(
        sample
        for split in selection.splits
        for sample in dataset.samples(split)
        if any(fnmatchcase(sample.name, pattern) for pattern in selection.names)
    )
    if not samples:
        raise DataError(
            f"no image of {dataset.name} is selected",
            got=f"splits {', '.join(selection.splits)} and names {', '.join(selection.names)}",
            hint="Check data.train and data.val of the recipe.",
        )
    return samples


@dataclass(frozen=True)
class EvaluationImages(Dataset[Item]):
    """Whole images with labels, as they are."""

    dataset: DataSet
    samples: Sequence[Sample]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Item:
        sample = self.samples[index]
        try:
            return self.dataset.read_image(sample), self.dataset.read_label(sample)
        except ArtoolkitError as error:
            # Raised in a worker it would arrive as a traceback: it travels as a value instead.
            return error


@dataclass(frozen=True)
class TrainingImages(Dataset[Item]):
    """Augmented crops with labels, and the `maps` made of these; the key is (epoch, index)."""

    images: EvaluationImages
    transform: Transform
    seed: int
    maps: Sequence[LabelMap] = ()

    def __getitem__(self, key: Key) -> Item:
        epoch, index = key
        item = self.images[index]
        if isinstance(item, ArtoolkitError):
            return item
        image, labels = item
        rng = np.random.default_rng([AUGMENT, self.seed, epoch, index])
        image, labels = self.transform(image, labels, rng)
        return image, labels, *(make(labels) for make in self.maps)


class EpochBatches(Sampler[list[Key]]):
    """The keys of the batches of `epoch`, from `first_step` on; an incomplete last one is dropped.

    Of several processes, number `rank` takes every `world_size`-th key of each batch, so that
    together they see the batches of one process. Raises `RecipeError` where a batch is larger
    than the data or cannot be shared evenly.
    """

    def __init__(
        self, count: int, batch_size: int, seed: int, *, rank: int = 0, world_size: int = 1
    ) -> None:
        if batch_size > count:
            raise RecipeError(
                "schedule.batch_size is larger than the training set",
                got=batch_size,
                expected=f"at most {count}, the number of images",
            )
        if batch_size % world_size:
            raise RecipeError(
                "schedule.batch_size cannot be shared evenly",
                got=batch_size,
                expected=f"a multiple of {world_size}, the number of processes",
            )
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self.rank, self.world_size = rank, world_size
        self.epoch = self.first_step = 0

    def __len__(self) -> int:
        return self.count // self.batch_size - self.first_step

    def __iter__(self) -> Iterator[list[Key]]:
        epoch = self.epoch
        order = np.random.default_rng([ORDER, self.seed, epoch]).permutation(self.count).tolist()
        for step in range(self.first_step, self.count // self.batch_size):
            batch = order[step * self.batch_size : (step + 1) * self.batch_size]
            yield [(epoch, index) for index in batch[self.rank :: self.world_size]]


def step_seed(seed: int, iteration: int, rank: int = 0) -> int:
    """The seed of torch's generators in one iteration (dropout, jittered points) and process."""
    words = [STEP, seed, iteration, *([rank] if rank else [])]
    return int(np.random.SeedSequence(words).generate_state(1)[0])


def training_loader(
    images: TrainingImages, batches: EpochBatches, *, workers: int, pin_memory: bool
) -> DataLoader[Item]:
    """uint8 images B x H x W x 3, uint8 labels B x H x W, and maps; iterate it with `fetched`.

    `TrainingError` where shared memory has no room for the queues of the workers.
    """
    if _SHARED.is_dir() and shutil.disk_usage(_SHARED).free < workers * _LEAST_SHARED:
        raise _dead_worker("no shared memory for their queues", f"{workers} workers cannot start")
    return DataLoader(
        images,
        batch_sampler=batches,
        collate_fn=_collate,
        num_workers=workers,
        worker_init_fn=_start_worker,
        persistent_workers=workers > 0,
        pin_memory=pin_memory,
    )


def fetched(loader: DataLoader[Item]) -> Iterator[Batch]:
    """The batches of a loader; the first image that cannot be used raises its `DataError`.

    A worker that dies while its batch is taken over closes the connection that it came through:
    that is a `TrainingError` here.
    """
    with isolated_workers():
        batches = iter(loader)
    while True:
        try:
            batch = next(batches)
        except StopIteration:
            return
        except (ConnectionError, EOFError, FileNotFoundError) as error:
            raise _dead_worker(f"{type(error).__name__} while a batch was taken over") from error
        if isinstance(batch, ArtoolkitError):
            raise batch
        yield batch


@contextmanager
def worker_deaths() -> Iterator[None]:
    """Torch reports a dead worker from a signal handler, so anywhere: a `TrainingError` here."""
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise _dead_worker(str(error).splitlines()[0].rstrip(" .")) from error


def _dead_worker(got: str, what: str = "a process that loads images died") -> TrainingError:
    hint = "Usually memory ran out: try fewer --workers, or 0."
    if _SHARED.is_dir():
        space = shutil.disk_usage(_SHARED)
        hint = (
            f"Usually memory ran out, or {_SHARED} ({space.total >> 20:,} MB, {space.free >> 20:,} "
            "free): try fewer --workers, or 0; of a container, more --shm-size."
        )
    return TrainingError(what, got=got, hint=hint)


def _collate(items: list[Item]) -> Batch | ArtoolkitError:
    samples: list[tuple[NDArray[Any], ...]] = []
    for item in items:
        if isinstance(item, ArtoolkitError):
            return item
        samples.append(item)
    return tuple(torch.from_numpy(np.stack(part)) for part in zip(*samples, strict=True))


def _start_worker(_worker: int) -> None:
    """One thread a worker; a stop is the main process's business, which needs batches until then.

    Ctrl-C and `timeout` signal the whole group, and a worker that died at once would lose the
    steps since the last epoch.
    """
    import cv2

    # A batch that finds no room in shared memory would be dropped, and waited for for ever.
    Queue._on_queue_feeder_error = staticmethod(lambda *_: os._exit(1))  # type: ignore[attr-defined]
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "alarm"):
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda _signal, _frame: signal.alarm(GRACE_S))
