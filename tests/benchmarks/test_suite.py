"""Suites resume, keep what could not be measured as a reason, and never mix settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
import result_file
from click.testing import CliRunner
from result_file import ResultFile
from suite import rounded, run_suite, shared_options

from artoolkit.commit import source_commit
from artoolkit.errors import BackendError
from artoolkit.evidence.records import read_record


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(result_file, "RESULTS", tmp_path)
    return tmp_path


class Counted:
    """A case that counts how often it was measured, and fails first where it is told to."""

    def __init__(self, *failures: BaseException) -> None:
        self.calls = 0
        self.failures = list(failures)

    def __call__(self) -> dict[str, Any]:
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        return {"seconds": [0.1234567891, 2.0], "calls": self.calls}


def run(cases: dict[str, Counted], *, again: bool = False, rounds: int = 3) -> dict[str, Any]:
    path = run_suite(
        "tiny", cases, machine="m", settings={"rounds": rounds, "size": (1, 2)}, again=again
    )
    assert path.name == "tiny--m--cpu.json"
    return read_record(path, ResultFile).raw


def test_every_case_is_in_the_file_with_sensible_digits() -> None:
    raw = run({"b": Counted(), "a": Counted()})
    values = {"seconds": [0.123457, 2.0], "calls": 1, "commit": source_commit()}
    assert raw == dict.fromkeys("ab", values)


def test_a_stopped_run_goes_on_where_it_stopped() -> None:
    cases = {"a": Counted(), "b": Counted(KeyboardInterrupt()), "c": Counted()}
    with pytest.raises(KeyboardInterrupt):
        run(cases)
    assert [case.calls for case in cases.values()] == [1, 1, 0]
    raw = run(cases)
    assert [case.calls for case in cases.values()] == [1, 2, 1]
    assert raw.keys() == cases.keys()


def test_nothing_is_measured_twice_unless_asked(capsys: pytest.CaptureFixture[str]) -> None:
    cases = {"a": Counted()}
    assert run(cases) == run(cases)
    assert "holds every case already" in capsys.readouterr().err
    assert run(cases, again=True)["a"]["calls"] == 2
    other = {"b": Counted()}
    assert run(other).keys() == {"a", "b"}
    assert run(other, again=True).keys() == {"b"}


def test_a_case_that_cannot_run_says_why_and_is_tried_the_next_time() -> None:
    cases = {"gpu": Counted(BackendError("no GPU here")), "cpu": Counted()}
    raw = run(cases)
    assert raw["gpu"] == {"unavailable": "no GPU here"}
    assert run(cases)["gpu"]["calls"] == 2
    assert cases["cpu"].calls == 1


def test_an_error_of_the_benchmark_is_not_an_answer() -> None:
    with pytest.raises(ZeroDivisionError):
        run({"a": Counted(ZeroDivisionError())})


def test_other_settings_are_refused_by_name() -> None:
    run({"a": Counted()})
    with pytest.raises(click.UsageError, match=r"rounds: 3 there, 4 now.*--again"):
        run({"b": Counted()}, rounds=4)
    assert run({"b": Counted()}, rounds=4, again=True).keys() == {"b"}


def test_rounding_leaves_integers_and_text_alone() -> None:
    value = {"bytes": 123456789, "name": "a", "times": (1234567.8, 1.23456789e-9), "none": None}
    assert rounded(value) == {
        "bytes": 123456789, "name": "a", "times": [1234570.0, 1.23457e-09], "none": None
    }  # fmt: skip


def test_every_command_gets_the_same_options() -> None:
    @click.command()
    @shared_options
    def main(*, machine: str, again: bool) -> None:
        click.echo(f"{machine} {again}")

    assert CliRunner().invoke(main, []).output == "x86-2core False\n"
    assert CliRunner().invoke(main, ["--machine", "orin", "--again"]).output == "orin True\n"
