"""The training step's arms differ in the loss alone, and are compared within each round."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
import result_file
import training_step
from click.testing import CliRunner
from result_file import ResultFile
from training_step import ARMS, CONTROL, learner, make_batch, parse_crop, table

from artoolkit.evidence.records import read_record

torch = pytest.importorskip("torch")


def test_arms_begin_alike_and_differ_in_the_loss() -> None:
    control, paper, every = (learner(arm, (64, 128), 2) for arm in ARMS)
    assert "affinity_regression" not in control.objective.weights
    grids = [
        one.objective.terms["affinity_regression"].options["points"].grid for one in (paper, every)
    ]
    assert grids == ["center", "all"]
    states = [one.network.state_dict() for one in (control, paper, every)]
    assert all(torch.equal(states[0][key], other[key]) for other in states[1:] for key in other)
    images, labels = make_batch((64, 128), 2)
    terms = [one.step(images, labels, 0) for one in (control, paper, every)]
    assert terms[0]["cross_entropy"] == pytest.approx(terms[1]["cross_entropy"], rel=1e-4)
    assert "affinity_regression" not in terms[0]
    assert terms[1]["affinity_regression"] != terms[2]["affinity_regression"]


def test_a_batch_has_void_and_every_label_is_a_class() -> None:
    images, labels = make_batch((72, 100), 3)
    assert (images.shape, labels.shape) == ((3, 72, 100, 3), (3, 72, 100))
    assert (labels[:, :7] == training_step.VOID).all()
    assert labels[:, 7:].max() < training_step.CLASSES


@pytest.mark.parametrize("text", ["256", "axb", "32x512", "256x512x3"])
def test_a_crop_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match=f"got {text}"):
        parse_crop(text)


def test_the_table_is_beside_the_control() -> None:
    paper, every = list(ARMS)[1:]
    samples = {CONTROL: [1.0, 10.0, 2.0], paper: [1.1, 11.0, 2.2], every: [1.5, 15.0, 3.3]}
    head, _, *rows = table({"256x512 x 4": {"seconds": samples}})
    assert head == f"| one step, time / {CONTROL} | 256x512 x 4 |"
    assert rows == [
        f"| {CONTROL} | 1 |",
        f"| {paper} | 1.100 ± 0 % |",
        f"| {every} | 1.500 ± 2 % |",
    ]


def test_the_command_times_every_arm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_file, "RESULTS", tmp_path)
    monkeypatch.setattr(training_step, "usable_cores", lambda: 1)
    command = ["--crop", "64x128", "--batch", "2", "--seconds", "0"]
    ran = CliRunner().invoke(training_step.main, command)
    assert ran.exit_code == 0, ran.output
    raw = read_record(tmp_path / "training-step--x86-2core--cpu.json", ResultFile).raw
    assert {
        arm: len(times) for arm, times in raw["64x128 x 2"]["seconds"].items()
    } == dict.fromkeys(ARMS, 5)
