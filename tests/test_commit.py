"""The commit of a checkout, of an install from a repository, and of a release."""

from __future__ import annotations

import json
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from artoolkit import commit

GIT = ("git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    if shutil.which("git") is None:
        pytest.skip("needs git")
    (tmp_path / "a").write_text("1")
    for arguments in (("init", "-q"), ("add", "a"), ("commit", "-q", "-m", "a"), ("tag", "v1")):
        subprocess.run([*GIT, *arguments], cwd=tmp_path, check=True)
    return tmp_path


def test_a_checkout_has_its_head_and_says_that_it_was_changed(checkout: Path) -> None:
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=checkout, capture_output=True, text=True, check=True
    ).stdout.strip()
    assert commit.checkout_commit(checkout) == head
    (checkout / "a").write_text("2")
    assert commit.checkout_commit(checkout) == f"{head}-dirty"


def test_a_folder_without_repository_or_git_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert commit.checkout_commit(tmp_path) is None
    (tmp_path / ".git").mkdir()
    assert commit.checkout_commit(tmp_path) is None
    monkeypatch.setenv("PATH", "")
    assert commit.checkout_commit(tmp_path) is None


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (json.dumps({"vcs_info": {"vcs": "git", "commit_id": "c" * 40}}), "c" * 40),
        (json.dumps({"dir_info": {"editable": True}}), None),
        (None, None),
    ],
)
def test_an_install_knows_the_commit_that_pip_recorded(
    record: str | None, expected: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = SimpleNamespace(read_text=lambda _: record)
    monkeypatch.setattr(metadata, "distribution", lambda _: found)
    monkeypatch.setattr(commit, "_CHECKOUT", tmp_path)
    commit.source_commit.cache_clear()
    assert commit.source_commit() == expected
    commit.source_commit.cache_clear()
