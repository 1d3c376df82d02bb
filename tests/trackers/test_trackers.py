"""Trackers are told what runs and verdicts are, in their own offline stores."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from artoolkit.errors import UsageError
from artoolkit.evidence.callback import Callback, flat
from artoolkit.evidence.verdict import Check, Subject, decide
from artoolkit.trackers import tracking

RECIPE = {"name": "tiny", "optimizer": {"lr": 0.05}, "loss": {"ar_sizes": [12, 6]}}
ROW = {"epoch": 2, "iteration": 10, "mIoU": 41.5, "IoU.traffic light": 12.0, "IoU.sky": None}


class Notes(Callback):
    """Remembers what it was told; the last one made is `Notes.last`."""

    last: Notes

    def __init__(self) -> None:
        self.told: list[object] = []
        Notes.last = self

    def on_epoch(self, row: dict[str, object]) -> None:
        self.told.append(row)

    def close(self) -> None:
        self.told.append("closed")


def verdict():
    check = Check(name="accuracy", result="PASS", headline="not worse")
    one = Subject(name="b", sha256="0")
    return decide([check], baseline=one, candidate=one, target={})


def tell(name: str) -> None:
    with tracking([name]) as callbacks:
        for one in callbacks:
            one.on_start(RECIPE)
            one.on_epoch(ROW)
            one.on_verdict(verdict())


def test_a_tracker_of_ones_own_is_closed_after_an_error_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    with pytest.raises(KeyError), tracking([f"{__name__}:Notes"]) as (notes,):
        notes.on_epoch(ROW)
        raise KeyError
    assert notes.told == [ROW, "closed"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mlfow", "Did you mean mlflow"),
        ("nowhere:Tracker", "cannot be used"),
        ("json:JSONDecoder", "makes no Callback"),
    ],
)
def test_what_is_no_tracker_is_refused(name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said), tracking([name]):
        pass


def test_a_nested_table_becomes_paths() -> None:
    assert flat(RECIPE) == {"name": "tiny", "optimizer.lr": 0.05, "loss.ar_sizes": [12, 6]}


@pytest.mark.filterwarnings("ignore")  # MLflow's own
def test_mlflow_keeps_parameters_metrics_and_the_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow", reason='pip install "artoolkit[tracking]"')
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    store = tmp_path / "store"  # made by MLflow, with its first experiment
    mlflow.set_tracking_uri(store.as_uri())
    tell("mlflow")
    (run,) = mlflow.MlflowClient().search_runs(["0"])
    assert run.info.status == "FINISHED"
    assert run.data.params["optimizer.lr"] == "0.05"
    assert run.data.metrics["mIoU"] == 41.5
    assert "IoU.sky" not in run.data.metrics
    assert run.data.tags["artoolkit.result"] == "PASS"
    (kept,) = store.rglob("verdict.json")
    assert json.loads(kept.read_text())["checks"][0]["name"] == "accuracy"


@pytest.mark.filterwarnings("ignore")  # wandb's own
def test_wandb_keeps_a_run_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb", reason='pip install "artoolkit[tracking]"')
    for name, value in {"MODE": "offline", "DIR": str(tmp_path), "SILENT": "true"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    tell("wandb")
    wandb.teardown()  # what its own process still holds goes to the disk
    (kept,) = tmp_path.rglob("*.wandb")
    content = kept.read_bytes()
    for part in (b"optimizer.lr", b"IoU.traffic light", b"artoolkit.accuracy"):
        assert part in content
