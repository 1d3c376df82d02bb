"""The group: instant help, aliases, one line and an exit code for every failure."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from artoolkit.cli import ALIASES, CLOSED_PIPE, CRASH, VERBS, main, run
from artoolkit.errors import ArtoolkitError, DataError, StorageError

HEAVY = ("torch", "numpy", "pydantic", "onnx", "rich")


def test_help_lists_every_verb_without_importing_anything_heavy() -> None:
    code = (
        "import sys; from artoolkit.cli import run; assert run(['--help']) == 0; "
        f"sys.exit(' '.join(m for m in {HEAVY} if m in sys.modules))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert shown.stderr.strip() == ""
    for verb, (_, summary, _) in VERBS.items():
        assert verb in shown.stdout
        assert summary.split(".")[0][:30] in shown.stdout


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str) -> None:
    answer = CliRunner().invoke(main, [verb, "--help"])
    assert answer.exit_code == 0, answer.output
    assert len(answer.output.splitlines()) > 5


@pytest.mark.parametrize(("alias", "verb"), ALIASES.items())
def test_an_alias_is_its_verb(alias: str, verb: str) -> None:
    ours, theirs = (CliRunner().invoke(main, [name, "--help"]).output for name in (alias, verb))
    assert ours.splitlines()[1:] == theirs.splitlines()[1:]


def test_an_unknown_verb_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["fly"]) == 2
    assert "No such command 'fly'." in capsys.readouterr().err
    assert run(["exprot"]) == 2
    assert "Did you mean export?" in capsys.readouterr().err


def _in_a_shell(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False,
        env=os.environ | {"ARTOOLKIT": f"{sys.executable} -m artoolkit"},
    )  # fmt: skip


@pytest.mark.parametrize("verb", ["--help", "doctor", "weights list"])
def test_neither_a_closed_pipe_nor_a_full_disk_looks_like_a_failed_check(verb: str) -> None:
    closed = _in_a_shell(f"$ARTOOLKIT {verb} | true; exit ${{PIPESTATUS[0]}}")
    assert closed.returncode in (0, CLOSED_PIPE), closed.stderr
    full = _in_a_shell(f"$ARTOOLKIT {verb} > /dev/full")
    assert full.returncode == StorageError.exit_code
    assert full.stderr == "error: cannot write the output: No space left on device\n"


def test_a_crash_is_one_line_a_file_and_its_own_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    @click.command()
    def crashing() -> None:
        raise KeyError("\x1b[31mname\nof two lines")

    monkeypatch.setattr(type(main), "get_command", lambda *_: crashing)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    answer = CliRunner().invoke(main, ["doctor"])
    assert answer.exit_code == CRASH
    (log,) = tmp_path.iterdir()
    assert answer.output.count("\n") == 1
    assert str(log) in answer.output
    assert "in crashing" in log.read_text()


@pytest.mark.parametrize(
    ("raised", "code", "line"),
    [
        (DataError("no data", got="nothing", expected="a folder", hint="Look."), 4,
         "error: no data; got nothing; expected a folder. Look."),
        (ArtoolkitError("two\nlines"), 10, "error: two lines"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)  # fmt: skip
def test_failures_end_in_one_line_and_their_code(
    raised: BaseException, code: int, line: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    @click.command()
    def failing() -> None:
        raise raised

    monkeypatch.setattr(type(main), "get_command", lambda *_: failing)
    assert run(["doctor"]) == code
    assert capsys.readouterr().err.strip() == line


def test_no_two_classes_of_error_share_an_exit_code_by_accident() -> None:
    classes = [ArtoolkitError]
    for parent in classes:
        classes += parent.__subclasses__()
    own = {c.__name__: c.exit_code for c in classes if "exit_code" in vars(c)}
    assert len(set(own.values())) == len(own)
    assert not set(own.values()) & {0, 1, 3, 130, CRASH, CLOSED_PIPE}


def test_a_room_of_torch_is_named_with_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """`weights list` needs no torch itself, but the networks' room begins with it."""
    for name in [name for name in sys.modules if name.startswith("artoolkit.networks")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    done = CliRunner().invoke(main, ["weights", "list"])
    assert done.exit_code == 8, done.output
    assert "artoolkit weights needs torch" in done.output
    assert 'pip install "artoolkit[train]"' in done.output


def test_a_library_that_does_not_import_is_named_as_well(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As torch without a system library: it is there, and its import fails."""
    (tmp_path / "broken_library.py").write_text("raise ImportError('libGL.so.1: no such file')")
    monkeypatch.syspath_prepend(tmp_path)

    def fails() -> None:
        raise ImportError("libGL.so.1: no such file", name="broken_library")

    monkeypatch.setattr(click.Group, "invoke", lambda *_: fails())
    done = CliRunner().invoke(main, ["doctor"])
    assert done.exit_code == 8, done.output
    assert "which does not import (libGL.so.1: no such file)" in done.output
