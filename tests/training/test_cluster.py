"""An experiment on a local Dask cluster of two workers, one of which is killed."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from threading import Thread

import pytest
from small_town import make_town

from artoolkit.errors import UsageError
from artoolkit.evaluation.experiment import read_rows
from artoolkit.training.experiment import Unwatched, experiment

distributed = pytest.importorskip("distributed")


@pytest.mark.slow
def test_a_killed_workers_run_goes_on_elsewhere_and_no_row_is_lost(tmp_path: Path) -> None:
    town, out = make_town(tmp_path, epochs=1), tmp_path / "out"
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", processes=True
    ) as cluster:
        with distributed.Client(cluster) as client:
            pids = list(client.run(os.getpid).values())
        killed: list[int] = []

        def kill_in_the_middle() -> None:
            # Both workers have a run then.
            for _ in range(6000):
                if any(out.glob("runs/*/state/last.pt")):
                    killed.append(pids[0])
                    os.kill(pids[0], signal.SIGKILL)
                    return
                time.sleep(0.01)

        killer = Thread(target=kill_in_the_middle)
        killer.start()
        assert experiment(
            baseline=town / "base" / "model.safetensors", out=out, watcher=Unwatched(),
            dataset="cityscapes", data_root=town / "data", arms=("control", "all"), weights=(5.0,),
            seeds=(1, 2), epochs=4, cluster=cluster.scheduler_address,
        )  # fmt: skip
        killer.join()
    assert killed
    found = [(row["arm"], row["seed"]) for row in read_rows(out / "runs.jsonl")]
    assert sorted(found) == [("all", 1), ("all", 2), ("control", 1), ("control", 2)]


def test_no_scheduler_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from artoolkit.training import cluster

    monkeypatch.setattr(cluster, "TIMEOUT_S", 0.2)
    options = {"baseline": "b.safetensors", "out": tmp_path}
    with pytest.raises(UsageError, match="no Dask scheduler answers at tcp://127"):
        list(cluster.cluster_rows("tcp://127.0.0.1:9", options, []))
