from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from artoolkit.errors import StorageError, TrainingError
from artoolkit.training import history
from artoolkit.training.history import METRICS, History, writing


def rows(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]


def test_rows_are_appended_as_they_come(tmp_path: Path) -> None:
    log = History(tmp_path)
    log.write("start", {"seed": 1})
    log.write("iteration", {"iteration": 1, "loss": 0.5})
    assert log.saved_bytes() == (tmp_path / METRICS).stat().st_size
    log.close()
    assert rows(tmp_path) == [
        {"kind": "start", "seed": 1},
        {"kind": "iteration", "iteration": 1, "loss": 0.5},
    ]


def test_a_resumed_run_cuts_off_what_came_after_the_saved_state(tmp_path: Path) -> None:
    log = History(tmp_path)
    log.write("iteration", {"iteration": 1, "loss": 0.5})
    kept = log.saved_bytes()
    log.write("iteration", {"iteration": 2, "loss": 0.4})
    log.close()
    with (tmp_path / METRICS).open("ab") as file:
        file.write(b'{"kind": "itera')  # what kill -9 leaves
    log = History(tmp_path, keep_bytes=kept, iteration=1)
    log.write("iteration", {"iteration": 2, "loss": 0.3})
    log.close()
    assert [row["loss"] for row in rows(tmp_path)] == [0.5, 0.3]


def test_a_file_that_lost_rows_is_refused(tmp_path: Path) -> None:
    (tmp_path / METRICS).write_text("{}\n")
    with pytest.raises(TrainingError, match="shorter than when the run was saved"):
        History(tmp_path, keep_bytes=100)


def test_numbers_become_curves(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is optional")
    log = History(tmp_path)
    log.write("start", {"seed": 1})
    assert not list(tmp_path.glob("events.*"))
    log.write("iteration", {"iteration": 7, "loss": 0.5})
    log.write("epoch", {"iteration": 7, "mIoU": 12.5, "IoU.a": None})
    log.close()
    (events,) = tmp_path.glob("events.*")
    content = events.read_bytes()
    assert b"iteration/loss" in content
    assert b"epoch/mIoU" in content
    assert b"IoU.a" not in content


def test_without_tensorboard_the_rows_are_still_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "is_installed", lambda name: False)
    log = History(tmp_path)
    log.write("iteration", {"iteration": 1, "loss": 0.5})
    log.close()
    assert len(rows(tmp_path)) == 1
    assert not list(tmp_path.glob("events.*"))


def test_a_full_disk_is_a_storage_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"No space left.*--resume"), writing(tmp_path):
        raise OSError(28, "No space left on device")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_metrics_on_a_full_disk(tmp_path: Path) -> None:
    log = History(tmp_path)
    log._file.close()
    log._file = Path("/dev/full").open("ab", buffering=0)  # noqa: SIM115 (the log closes it)
    with pytest.raises(StorageError, match=r"metrics\.jsonl cannot be written.*No space left"):
        log.write("start", {"seed": 1})
    log.close()


def test_an_evaluation_becomes_pictures_and_hyper_parameters(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is optional")
    log = History(tmp_path)
    row = {"iteration": 7, "mIoU": 12.5}
    pictures = {"labels and prediction/street": np.zeros((4, 8, 3), np.uint8)}
    log.show({"optimizer": {"lr": 0.1}}, ["a", "b"], np.eye(2, 3, dtype=np.int64), pictures, row)
    log.close()
    (events,) = tmp_path.glob("events.*")
    content = events.read_bytes()
    for tag in (b"confusion", b"labels and prediction/street", b"optimizer.lr", b"epoch/mIoU"):
        assert tag in content
