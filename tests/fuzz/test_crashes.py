"""Some of the crash points of every command that writes; `crashes.py` by itself tries them all."""

from __future__ import annotations

from pathlib import Path

import pytest
from crashes import NEW, OLD, Journey, of_bundles

# Of as many steps one is tried. The others, whose every step is a training or an export that has to
# go on afterwards, take minutes: benchmarks/crash_points.py tries them.
EACH = {"compare": 11, "sign": 1}


def test_killed_anywhere_a_command_leaves_old_or_new_and_goes_on(tmp_path: Path) -> None:
    found = {one.name: one.count(each=EACH[one.name]) for one in of_bundles(tmp_path)}
    assert found.keys() == EACH.keys()
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
