"""Quickstart runs real commands, goes on where it stopped, and stops where one fails."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner
from judged import judged_bundle, without_rtx

import artoolkit.cli as cli
from artoolkit.cli import main
from artoolkit.cli.quickstart import Step, StepError, carry_out, journey, summarise


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that were run; each ends with the code in its last word, or 0."""
    made: list[list[str]] = []

    def record(arguments: Sequence[str]) -> int:
        made.append(list(arguments))
        return int(arguments[-1]) if arguments[-1].isdigit() else 0

    monkeypatch.setattr(cli, "run", record)
    return made


def test_every_command_of_the_journey_has_options_that_exist(tmp_path: Path) -> None:
    for step in journey(tmp_path):
        verb = [step.arguments[0]] if step.arguments[0] != "data" else list(step.arguments[:2])
        shown = CliRunner().invoke(main, [*verb, "--help"]).output
        for option in step.arguments:
            assert not option.startswith("--") or option in shown, option


def test_a_finished_step_is_not_run_again(tmp_path: Path, calls: list[list[str]]) -> None:
    step = Step("data", "Generate", ("data", "synthesize"))
    for _ in range(2):
        carry_out(step, tmp_path / "finished" / "data")
    assert calls == [["data", "synthesize"]]


def test_a_training_that_was_stopped_is_resumed(tmp_path: Path, calls: list[list[str]]) -> None:
    step = Step("baseline", "Train", ("train",), run=tmp_path / "run")
    (tmp_path / "run" / "state").mkdir(parents=True)
    carry_out(step, tmp_path / "finished")
    assert calls == [["train", "--resume"]]


@pytest.mark.parametrize(("code", "error"), [(130, KeyboardInterrupt), (4, StepError)])
def test_a_step_that_fails_is_not_finished(
    tmp_path: Path, calls: list[list[str]], code: int, error: type[BaseException]
) -> None:
    with pytest.raises(error):
        carry_out(Step("a", "Fail", ("data", str(code))), tmp_path / "finished")
    assert not (tmp_path / "finished").exists()
    assert len(calls) == 1


@pytest.mark.parametrize("code", [0, 1, 3])
def test_any_verdict_is_an_end(tmp_path: Path, calls: list[list[str]], code: int) -> None:
    carry_out(Step("export", "Judge", ("export", str(code)), good=(0, 1, 3)), tmp_path / "finished")
    assert (tmp_path / "finished").exists()


def test_the_end_names_the_gain_and_what_is_undecided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without_rtx(monkeypatch)
    judged_bundle(tmp_path)
    for name, after in (("control", 21.5), ("ar", 24.25)):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        rows = [{"kind": "epoch", "mIoU": miou} for miou in (20.0, after)]
        text = "".join(json.dumps(row) + "\n" for row in [{"kind": "start"}, *rows])
        (folder / "metrics.jsonl").write_text(text)
    verdict = summarise(tmp_path)
    shown = capsys.readouterr().out
    assert "20.00 -> 21.50 %" in shown
    assert "20.00 -> 24.25 %" in shown
    undecided = [c for c in verdict.checks if c.required and c.result == "UNDECIDED"]
    assert undecided
    assert all(f"{check.name}: {check.headline}" in shown for check in undecided)
