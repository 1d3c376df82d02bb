"""What the command line does under torchrun; whole runs are in tests/e2e/test_torchrun.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from artoolkit.cli import run
from artoolkit.errors import UsageError
from artoolkit.training.processes import ALONE, Machine, Processes


@pytest.fixture
def second_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)


def test_alone_a_device_is_what_was_asked_for() -> None:
    machine = Machine.of("cuda:3", 0)
    assert (machine.device, machine.processes) == ("cuda:3", ALONE)


def test_each_process_has_the_gpu_of_its_number(second_of_two: None) -> None:
    machine = Machine.of("cuda", 4)
    assert (machine.device, machine.workers) == ("cuda:1", 4)
    assert machine.processes == Processes(1, 2, 1)
    assert Machine.of("cpu", 0).device == "cpu"
    with pytest.raises(UsageError, match="a GPU of its own; got --device cuda:0; expected"):
        Machine.of("cuda:0", 0)


def test_an_experiment_is_refused(
    second_of_two: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("experiment", "--baseline", "base.safetensors", "--out", str(tmp_path / "out"))
    assert run(asked) == 2
    assert "an experiment runs in one process; got 2 from torchrun" in capsys.readouterr().err
