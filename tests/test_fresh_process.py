"""A function in a fresh process: its answer, its errors, its end, and what it may import."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from artoolkit import fresh_process
from artoolkit.errors import BackendError, EngineError, StorageError
from artoolkit.fresh_process import Progress, call_fresh


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """This file as a module that the child can import too."""
    (tmp_path / "in_the_child.py").write_text(Path(__file__).read_text())
    monkeypatch.syspath_prepend(tmp_path)
    return "in_the_child:"


def doubled(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    print("a library that prints")
    assert progress("doubling", 0.5), "nobody cancelled"
    return {"number": 2 * request["number"]}


def refusing(request: dict[str, Any], _: Progress) -> dict[str, Any]:
    raise EngineError("no tactic", got=1, expected="another", hint="Try again.")


def full(request: dict[str, Any], _: Progress) -> dict[str, Any]:
    raise OSError(28, "No space left on device")


def aborting(request: dict[str, Any], _: Progress) -> dict[str, Any]:
    os.write(2, b"No driver\n")
    os.abort()


def hanging(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    progress("waiting", 0.0)
    time.sleep(600)
    return {}


def test_the_answer_comes_back_and_progress_is_told(place: str) -> None:
    told: list[tuple[str, float]] = []
    answer = call_fresh(
        f"{place}doubled", {"number": 21}, what="that doubles",
        progress=lambda *what: told.append(what) or True,
    )  # fmt: skip
    assert answer == {"number": 42} and told == [("doubling", 0.5)]


def test_errors_cross_with_their_class_and_all_their_words(place: str) -> None:
    with pytest.raises(EngineError) as caught:
        call_fresh(f"{place}refusing", {}, what="that refuses")
    assert str(caught.value) == "no tactic; got 1; expected another. Try again."
    with pytest.raises(StorageError, match="No space left"):
        call_fresh(f"{place}full", {}, what="that writes")


def test_a_process_that_aborts_becomes_one_line(place: str) -> None:
    with pytest.raises(EngineError, match=r"that builds ended with signal SIGABRT: No driver\."):
        call_fresh(f"{place}aborting", {}, what="that builds", crash=EngineError)


def test_one_that_hangs_is_killed_after_a_cancellation_or_its_time(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fresh_process, "_CANCEL_GRACE_S", 0.2)
    with pytest.raises(KeyboardInterrupt):
        call_fresh(f"{place}hanging", {}, what="that hangs", progress=lambda *_: False)
    with pytest.raises(BackendError, match="that hangs ended with signal SIGKILL"):
        call_fresh(f"{place}hanging", {}, what="that hangs", timeout_s=0.5)


def test_nothing_is_imported_from_where_the_user_stands(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    for name in ("json", "numpy", "tempfile"):
        (here / f"{name}.py").write_text("import os; os.abort()")
    monkeypatch.chdir(here)
    monkeypatch.syspath_prepend(here)
    assert call_fresh(f"{place}doubled", {"number": 1}, what="that doubles") == {"number": 2}
