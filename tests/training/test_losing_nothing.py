"""What the world does to a run: the data go away, the disk fills up. One line each, and it goes on.

Kills, corrupt images and dead workers are in test_run.py.
"""

from __future__ import annotations

import multiprocessing
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from streets import Streets

from artoolkit.data import open_dataset
from artoolkit.data.synthetic import synthesize
from artoolkit.errors import ArtoolkitError, DataError
from artoolkit.training.processes import Machine
from artoolkit.training.recipe import Recipe
from artoolkit.training.run import resume, start
from artoolkit.training.state import STATE, read_state
from artoolkit.training.watcher import Silent

Make = Callable[..., Recipe]
MODEL = "model.safetensors"


class Unmounts(Silent):
    """Moves the data away after a step."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def stepped(self, row: dict) -> None:
        if row["iteration"] == 2:
            self.root.rename(self.root.with_name("gone"))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_lost_data_root_is_one_line_and_the_run_goes_on(
    workers: int, tiny: Make, tmp_path: Path
) -> None:
    root, out = tmp_path / "town", tmp_path / "run"
    synthesize(root, train=6, val=1, size_hw=(48, 64))
    data = open_dataset("cityscapes", root)
    recipe, machine = tiny({"schedule.epochs": 3}), Machine(workers=workers)
    start(recipe, data, tmp_path / "whole")
    with pytest.raises(DataError, match=r"no image at .*leftImg8bit\.png") as caught:
        start(recipe, data, out, machine=machine, watcher=Unmounts(root))
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="no data set at"):
        resume(out, data)
    root.with_name("gone").rename(root)
    assert resume(out, data).finished
    assert (out / MODEL).read_bytes() == (tmp_path / "whole" / MODEL).read_bytes()


def resume_with_little_room(out: Path, told: Path) -> None:
    """As on a disk with no room for the state: the kernel refuses to write any more."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    room = (out / STATE).stat().st_size // 2
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
    try:
        resume(out, Streets())
    except ArtoolkitError as error:
        told.write_text(f"{type(error).__name__}: {error}")


def test_no_room_for_the_next_state_is_one_line_and_the_run_goes_on(
    tiny: Make, tmp_path: Path
) -> None:
    recipe, out, told = tiny({"schedule.epochs": 3}), tmp_path / "run", tmp_path / "told"
    start(recipe, Streets(), tmp_path / "whole")

    class Stops(Silent):
        def stepped(self, row: dict) -> None:
            if row["iteration"] == 4:
                signal.raise_signal(signal.SIGINT)

    assert not start(recipe, Streets(), out, watcher=Stops()).finished
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["artoolkit.training.run"])
    child = context.Process(target=resume_with_little_room, args=(out, told))
    child.start()
    child.join(120)
    assert told.read_text().startswith("StorageError: cannot write ")
    assert "\n" not in told.read_text()
    assert read_state(out).progress.step == 1
    assert not list(out.rglob("*.partial"))
    assert resume(out, Streets()).finished
    assert (out / MODEL).read_bytes() == (tmp_path / "whole" / MODEL).read_bytes()
