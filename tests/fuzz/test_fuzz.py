"""A reduced run of the fuzzer, and pipes, devices and folders in the place of every file."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest
from formats import Format, formats
from harness import FAULTS, Count, limits, listed_codes, run, try_path
from mutations import STRUCTURES, damaged

# A town is trained for them, and a bundle judged.
pytestmark = pytest.mark.xdist_group("fuzz")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Format]:
    return list(formats(tmp_path_factory.mktemp("fuzz")))


def _assert_clean(counts: list[Count]) -> None:
    found = [f"{count.format}: {place}" for count in counts for place in count.places]
    assert found == []
    assert not any(count.faults[fault] for count in counts for fault in FAULTS)


def test_damaged_files_are_refused_in_one_line(made: list[Format]) -> None:
    counts = run(made, inputs=1, seed=0)
    _assert_clean(counts)
    assert sum(count.inputs - count.codes[0] for count in counts) > len(made) // 2


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "gone"])
def test_what_is_no_file_is_refused_unread(made: list[Format], kind: str, tmp_path: Path) -> None:
    counts, codes = [], listed_codes()
    for one in (one for one in made if not one.resealed):
        count, kept = Count(one.name), tmp_path / "kept"
        counts.append(count)
        shutil.move(one.path, kept)
        if kind == "pipe":
            os.mkfifo(one.path)
        elif kind == "device":
            one.path.symlink_to("/dev/zero")
        elif kind == "folder":
            one.path.mkdir()
        try:
            with limits():
                try_path(one, b"", count, codes)
        finally:
            if one.path.is_dir():
                one.path.rmdir()
            one.path.unlink(missing_ok=True)
            shutil.move(kept, one.path)
    _assert_clean(counts)


def test_damage_is_the_same_for_the_same_seed(made: list[Format]) -> None:
    for one in made:
        content = one.path.read_bytes()
        pair = [one.damage(random.Random(7), content) for _ in range(2)]
        assert pair[0] == pair[1] != content, one.name


def test_a_fault_is_counted(tmp_path: Path) -> None:
    """The harness must see what it is there for."""
    path = tmp_path / "x"
    path.write_bytes(b"content")

    def crash() -> int:
        raise KeyError("x")

    def needy() -> int:
        raise MemoryError

    uses = {"tracebacks": crash, "memory errors": needy, "unknown exit codes": lambda: 99,
            "silent acceptances": lambda: 0}  # fmt: skip
    for fault, use in uses.items():
        (count,) = run([Format("x", path, "binary", use, sealed=True)], inputs=2, seed=0)
        assert count.faults == {fault: 2}
    assert {0, 1, 2, 15, 70, 130, 141} <= listed_codes()


def test_every_structure_has_a_format(made: list[Format]) -> None:
    assert STRUCTURES.keys() <= {one.kind for one in made}
    assert damaged(random.Random(0), b"x", "binary") != b"x"
