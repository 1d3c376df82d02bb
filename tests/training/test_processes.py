"""Two processes over gloo against one: the same run, stopped and resumed as one."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from streets import Streets

from artoolkit.errors import ArtoolkitError
from artoolkit.networks.checkpoint import Checkpoint, read_checkpoint
from artoolkit.training.assembly import build_network, checkpoint_of
from artoolkit.training.optimizer import BATCH_NORM, freeze_batch_norm
from artoolkit.training.processes import ALONE, Machine, PeerStopped, Processes, launched, together
from artoolkit.training.recipe import Recipe
from artoolkit.training.run import resume, start
from artoolkit.training.state import read_state
from artoolkit.training.watcher import Silent
from artoolkit.words import TAUGHT

Make = Callable[..., Recipe]
TERMS = {
    "optimizer.freeze_bn": True,
    "loss.ar_weight": 2.0,
    "loss.ar_grid": "jitter",
    "loss.class_weights": [1.0, 2.0, 0.5],
    "loss.terms.distillation.weight": 1.0,
    "loss.terms.affinity_distillation.weight": 2.0,
}
# One process sees half of these labels void, so that means of means would not be the mean.
STREETS = Streets(lopsided=True)


class StopsSecond(Silent):
    """SIGTERM for one of the processes alone, after the second step."""

    def __init__(self, rank: int) -> None:
        self.rank = rank

    def stepped(self, row: dict) -> None:
        if self.rank == 1 and row["iteration"] == 2:
            signal.raise_signal(signal.SIGTERM)


def teachers(recipe: Recipe) -> list[Checkpoint]:
    """An untrained network, the same in every process."""
    network = build_network(recipe, STREETS.labels, seed=9)
    return [checkpoint_of(network, recipe, STREETS.labels, {})]


def member(rank: int, port: int, recipe: str, out: Path, told: str) -> None:
    """One of two processes; leaves how its run ended."""
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank),
                      WORLD_SIZE="2", LOCAL_RANK=str(rank))  # fmt: skip
    machine, given = Machine(processes=launched()), teachers(Recipe.model_validate_json(recipe))
    streets = STREETS
    if told == "broken":
        streets = dataclasses.replace(STREETS, broken="train_0")
    watcher = StopsSecond(rank) if told == "stop" else Silent()
    try:
        if told == "resume":
            outcome = resume(out, streets, teachers=given, machine=machine)
        else:
            arguments = Recipe.model_validate_json(recipe), streets, out
            outcome = start(*arguments, teachers=given, machine=machine, watcher=watcher)
        ended = "finished" if outcome.finished else f"stopped after {outcome.progress.step}"
    except ArtoolkitError as error:
        ended = f"{type(error).__name__}: {error}"
    out.with_name(f"{out.name}-{told}-{rank}").write_text(ended)


def together_run(recipe: Recipe, out: Path, told: str = "train") -> list[str]:
    """How each of the two processes ended."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["artoolkit.training.run"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    json_recipe = recipe.model_dump_json()
    members = [
        context.Process(target=member, args=(rank, port, json_recipe, out, told)) for rank in (0, 1)
    ]
    for one in members:
        one.start()
    for one in members:
        one.join(120)
        assert one.exitcode == 0
    return [out.with_name(f"{out.name}-{told}-{rank}").read_text() for rank in (0, 1)]


def terms(out: Path) -> list[list[float]]:
    rows = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
    names = ("loss", "cross_entropy", "affinity_regression", *TAUGHT, "mIoU")
    return [[row[name] for name in names if name in row] for row in rows if row["kind"] != "start"]


def assert_same(left: Path, right: Path) -> None:
    """Losses and weights to 1e-5."""
    assert len(terms(left)) == 8
    for ours, theirs in zip(terms(left), terms(right), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)
    states = [read_checkpoint(out / "model.safetensors").state for out in (left, right)]
    assert states[0].keys() == states[1].keys()
    for key, value in states[0].items():
        torch.testing.assert_close(value, states[1][key], rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def alone(tiny: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone") / "run"
    start(tiny(TERMS), STREETS, out, teachers=teachers(tiny(TERMS)))
    return out


def test_two_processes_stop_after_the_same_step_and_go_on_as_one_run(
    alone: Path, tiny: Make, tmp_path: Path
) -> None:
    out = tmp_path / "two"
    assert together_run(tiny(TERMS), out, "stop") == ["stopped after 2"] * 2
    assert read_state(out).progress.step == 2
    assert together_run(tiny(TERMS), out, "resume") == ["finished", "finished"]
    assert read_state(out).progress.epoch == 2
    assert_same(alone, out)


def test_an_image_that_one_cannot_read_ends_both_with_a_line_and_a_run_that_goes_on(
    alone: Path, tiny: Make, tmp_path: Path
) -> None:
    out = tmp_path / "two"
    ends = sorted(together_run(tiny(TERMS), out, "broken"))
    assert ends[0].startswith("DataError: image train_0.png cannot be read: truncated")
    assert ends[1] == "PeerStopped: another process could not read an image"
    # A run of two goes on as one.
    assert resume(out, STREETS, teachers=teachers(tiny(TERMS))).finished
    assert_same(alone, out)


def test_without_a_launcher_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert launched() == ALONE
    monkeypatch.setenv("RANK", "3")
    assert launched() == ALONE
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert launched() == Processes(3, 8, 1)
    assert Processes(1, 3).share("abcdefg") == "be"


def test_alone_nothing_is_sent_or_copied() -> None:
    values, network = torch.ones(2), torch.nn.Linear(1, 1)
    assert ALONE.sum(values) is ALONE.mean(values) is values
    assert ALONE.most(2) == 2
    assert ALONE.joint(network, torch.device("cpu")) is network


def test_a_lost_peer_is_one_line_and_other_errors_pass() -> None:
    for text in ("[gloo/transport] Connection closed by peer [10.0.0.2]:1\nmore",
                 "NCCL communicator was aborted"):  # fmt: skip
        with (
            pytest.raises(PeerStopped, match="another process of the run ended") as caught,
            pytest.MonkeyPatch.context() as patched,
        ):
            patched.setattr(torch.distributed, "init_process_group", lambda _: None)
            with together(Processes(0, 2), torch.device("cpu")):
                raise RuntimeError(text)
        assert "\n" not in str(caught.value)
    with (
        pytest.raises(RuntimeError, match="shapes"),
        pytest.MonkeyPatch.context() as patched,
    ):
        patched.setattr(torch.distributed, "init_process_group", lambda _: None)
        with together(Processes(0, 2), torch.device("cpu")):
            raise RuntimeError("shapes differ")


def test_joint_statistics_are_of_the_same_network(tiny: Make) -> None:
    """What GPUs get: other modules, the same keys, and still recognised as normalisation."""
    network = build_network(tiny(), STREETS.labels, seed=1)
    keys = list(network.state_dict())
    torch.nn.SyncBatchNorm.convert_sync_batchnorm(network)
    synced = [one for one in network.modules() if isinstance(one, torch.nn.SyncBatchNorm)]
    assert synced and list(network.state_dict()) == keys
    assert all(isinstance(one, BATCH_NORM) for one in synced)
    network.train()
    freeze_batch_norm(network)
    assert not any(one.training for one in synced)
