"""`torchrun` as a user types it: two processes, stopped by Ctrl-C, resumed, finished."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_town import tiny_recipe

from artoolkit.cli import run
from artoolkit.networks.checkpoint import read_checkpoint
from artoolkit.training.state import read_state

RECIPE = tiny_recipe(12, optimizer="lr = 0.02\nfreeze_bn = true", every=12)
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def started(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*TORCHRUN, "-m", "artoolkit", "train", *arguments],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


@pytest.mark.slow
def test_two_processes_stop_together_and_go_on(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(RECIPE)
    made = ("data", "synthesize", str(tmp_path / "data"), "--train", "8", "--val", "3")
    assert run((*made, "--imgsz", "64", "128")) == 0
    data = ("--dataset", "cityscapes", "--data-root", str(tmp_path / "data"), "--workers", "0")
    out = tmp_path / "run"
    first = started("--recipe", str(tmp_path / "tiny.toml"), *data, "--out", str(out))
    try:
        deadline = time.monotonic() + 300
        while not (out / "model.safetensors").exists() and time.monotonic() < deadline:
            assert first.poll() is None, first.communicate()[1]
            time.sleep(0.1)
        first.send_signal(signal.SIGINT)
        shown = first.communicate(timeout=120)
    finally:
        first.kill()
    assert shown[1].count("Stopped and saved in epoch") == 1, shown[1]
    assert 1 <= read_state(out).progress.epoch < 12
    second = started("--resume", *data, "--out", str(out))
    printed, said = second.communicate(timeout=300)
    assert second.returncode == 0, said
    # Only the first process speaks.
    assert printed.count("mIoU ") == 1
    assert read_checkpoint(out / "model.safetensors").meta.provenance["epoch"] == 12
