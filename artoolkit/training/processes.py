"""Several processes that train one network together, started by `torchrun`; or just one.

Plain torch.distributed: what a launcher's library would add (sharded loaders, mixed precision,
random states) the loader and the engine decide themselves, so that any number of processes sees
the batches of one. Small messages go over gloo on the CPU, gradients over NCCL between GPUs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn

from artoolkit.cores import usable_cores
from artoolkit.errors import TrainingError, UsageError

Item = TypeVar("Item")

# What torch says of a collective operation whose other side has gone.
_LOST = re.compile(r"gloo|nccl|connection (was )?(closed|reset|refused)|broken pipe", re.IGNORECASE)


class PeerStopped(TrainingError):
    """Another process of the run ended; its own message says why."""


@dataclass(frozen=True)
class Processes:
    """Number `rank` of `count`, and `local_rank` on its machine; every method is done by all."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @property
    def first(self) -> bool:
        """True for the process that writes and speaks."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """Every `count`-th item from `rank` on."""
        return items[self.rank :: self.count]

    def sum(self, values: Tensor) -> Tensor:
        """The sum over the processes, on the device of `values`, without a gradient."""
        if self.count == 1:
            return values
        total = values.detach().clone()
        distributed.all_reduce(total)
        return total

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the processes, as `sum`."""
        return self.sum(values) / self.count if self.count > 1 else values

    def most(self, value: int) -> int:
        """The largest `value` of all."""
        if self.count == 1:
            return value
        shared = torch.tensor(value)
        distributed.all_reduce(shared, distributed.ReduceOp.MAX)
        return int(shared)

    def equalise(self, tensors: Iterable[Tensor]) -> None:
        """All get what the first process has, in place."""
        if self.count > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, 0)

    def joint(self, network: nn.Module, device: torch.device) -> nn.Module:
        """`network` whose gradients are averaged over the processes as they come."""
        if self.count == 1:
            return network
        return nn.parallel.DistributedDataParallel(
            network,
            device_ids=[device] if device.type == "cuda" else None,
            # Parts without a loss term have no gradient, in every step the same.
            static_graph=True,
        )


ALONE = Processes()


def launched() -> Processes:
    """Processes of `torchrun`, from the environment: RANK, WORLD_SIZE, LOCAL_RANK; else `ALONE`."""
    if not {"RANK", "WORLD_SIZE", "LOCAL_RANK"} <= set(os.environ):
        return ALONE
    rank, count, local = (int(os.environ[n]) for n in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    return Processes(rank, count, local)


@dataclass(frozen=True)
class Machine:
    """Settings that may differ between two runs of one recipe: the device and the loader.

    `workers` are those of each process.
    """

    device: str = "cpu"
    workers: int = 0
    processes: Processes = ALONE

    @staticmethod
    def of(device: str = "cpu", workers: int | None = None) -> Machine:
        """This machine; by default one process loads images on a CPU, up to 8 beside a GPU.

        Under torchrun, `cuda` is the GPU of each process's own number; `UsageError` for another.
        """
        processes = launched()
        if processes.count > 1 and device.startswith("cuda"):
            if device != "cuda":
                raise UsageError(
                    "under torchrun each process has a GPU of its own",
                    got=f"--device {device}",
                    expected="--device cuda",
                )
            device = f"cuda:{processes.local_rank}"
        default = min(8, max(1, usable_cores() - 1)) if device.startswith("cuda") else 1
        return Machine(device, default if workers is None else workers, processes)


ONE_CPU = Machine()


@contextmanager
def together(processes: Processes, device: torch.device) -> Iterator[None]:
    """The processes are connected, each with its `device`; `PeerStopped` where one of them goes."""
    if processes.count == 1:
        yield
        return
    try:
        if device.type == "cuda":
            torch.cuda.set_device(device)
        distributed.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
        yield
    except (RuntimeError, OSError, ValueError) as error:
        if not isinstance(error, distributed.DistError) and not _LOST.search(str(error)):
            raise
        raise PeerStopped(
            "another process of the run ended or cannot be reached",
            got=" ".join(str(error).split())[:120],
            hint="Its own message says why.",
        ) from error
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()
