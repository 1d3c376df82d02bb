"""Crash points of the commands that write; benchmarks/crash_points.py tries them all."""

from __future__ import annotations

from pathlib import Path

import pytest
from crashes import NEW, OLD, Journey, of_bundles


def test_killed_anywhere_a_command_leaves_old_or_new_and_goes_on(tmp_path: Path) -> None:
    """Commands on a bundle; each step of the others is a training or an export that goes on.

    Those take minutes: benchmarks/crash_points.py tries them too.
    """
    found = {one.name: one.count() for one in of_bundles(tmp_path)}
    assert found.keys() == {"compare", "sign"}
    assert all(counted[OLD] > 0 for counted in found.values())


def test_half_a_state_is_seen(tmp_path: Path) -> None:
    """The method must see what it is there for: a file that is not replaced in one step."""
    path = tmp_path / "result"

    def state() -> str:
        content = path.read_text()
        assert content in (OLD, NEW)
        return content

    def act() -> None:
        path.write_text(NEW)

    with pytest.raises(AssertionError):
        Journey("write", lambda: path.write_text(OLD), act, state, act).count()
