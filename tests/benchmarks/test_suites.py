"""One command for every suite: what it runs, leaves out and leaves alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import result_file
import suites
import tables
from click.testing import CliRunner, Result
from suites import FOLDER, SUITES


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The command lines that were started, in place of what they would do."""
    started: list[list[str]] = []

    def run(command: list[str], *, check: bool) -> subprocess.CompletedProcess[bytes]:
        started.append([Path(command[1]).name, *command[2:]])
        if "latency.py" in command[1]:
            raise KeyboardInterrupt
        return subprocess.CompletedProcess(command, int("networks.py" in command[1]))

    monkeypatch.setattr(suites.subprocess, "run", run)
    monkeypatch.setattr(result_file, "RESULTS", tmp_path)
    monkeypatch.setattr(tables, "write", lambda: [Path("speed.md")])
    return started


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(suites.main, arguments)


@pytest.mark.parametrize("name", SUITES)
def test_a_suite_is_a_script_that_the_page_shows(name: str) -> None:
    assert (FOLDER / SUITES[name].script).is_file()
    shown = (FOLDER / "README.md").read_text()
    start = name.partition("-")[0]
    assert f"| `{name}` |" in shown or f"| `{start}-*` |" in shown


def test_every_result_file_belongs_to_a_suite() -> None:
    files = {path.name for path in result_file.RESULTS.glob("*.json")}
    names = {name.partition("--")[0] for name in files}
    others = {"loss-cost-peers", "loader-camvid"}  # options of loss-cost and loader-generated
    assert names - others <= set(SUITES)


def test_suites_run_in_the_order_of_the_list_and_tables_follow(ran: list[list[str]]) -> None:
    done = invoke("loss-cost", "image-size", "--machine", "orin", "--again")
    assert done.exit_code == 0, done.output
    assert ran == [
        ["image_size.py", "--machine", "orin", "--again"], ["loss_cost.py", "--machine", "orin"]
    ]  # fmt: skip
    assert done.output.splitlines()[-1] == "rendered speed.md"


def test_what_was_measured_and_cannot_resume_is_left_alone(ran: list[list[str]]) -> None:
    (result_file.RESULTS / "calibration-latency--simulated--clock.json").touch()
    assert "measured before" in invoke("calibration-latency").output
    assert ran == []
    invoke("calibration-latency", "--again")
    assert ran == [["calibration.py", "latency"]]


def test_options_behind_two_dashes_are_the_suite_s(ran: list[list[str]]) -> None:
    invoke("camvid-lite0", "--", "--data-root", "data")
    assert ran == [["camvid.py", "--machine", "x86-2core", "--data-root", "data"]]
    refused = invoke("camvid-lite0", "loss-cost", "--", "--data-root", "data")
    assert refused.exit_code == 2
    assert "for one suite" in refused.output


def test_all_names_what_it_leaves_out(
    ran: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {name: SUITES[name] for name in ("image-size", "camvid", "gpu")}
    monkeypatch.setattr(suites, "SUITES", few)
    done = invoke("--all")
    assert [command[0] for command in ran] == ["image_size.py"]
    assert "camvid: left out, it needs CamVid" in done.output
    assert "gpu: left out, it needs an NVIDIA GPU" in done.output


def test_a_suite_that_fails_stops_no_other_and_is_named(ran: list[list[str]]) -> None:
    done = invoke("networks", "image-size")
    assert [command[0] for command in ran] == ["networks.py", "image_size.py"]
    assert done.exit_code == 1
    assert "failed: networks" in done.output


def test_an_interruption_stops_everything(ran: list[list[str]]) -> None:
    done = invoke("latency", "image-size")
    assert len(ran) == 1
    assert done.exit_code == 130
    assert "the same command goes on" in done.output


@pytest.mark.parametrize("arguments", [(), ("nothing",), ("--all", "latency")])
def test_a_wrong_choice_is_refused(ran: list[list[str]], arguments: tuple[str, ...]) -> None:
    assert invoke(*arguments).exit_code == 2
    assert ran == []


def test_the_list_says_what_was_measured_and_what_it_needs(ran: list[list[str]]) -> None:
    (result_file.RESULTS / "latency--orin--cpu.json").touch()
    lines = {
        line.split()[0]: line for line in invoke("--list", "--machine", "orin").output.splitlines()
    }
    assert lines.keys() == SUITES.keys()
    assert lines["latency"].split()[1] == "measured"
    assert lines["gpu"].split()[1] == "-"
    assert lines["gpu"].endswith("(needs an NVIDIA GPU)")


@pytest.mark.slow
def test_it_runs_as_a_command() -> None:
    command = [sys.executable, str(FOLDER / "suites.py"), "--list"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "image-size" in shown.stdout
