"""A reduced run of the fuzzer, and pipes, devices and folders in the place of every file."""

from __future__ import annotations

import os
import random
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from formats import formats
from harness import FAULTS, Count, limits, listed_codes, run, try_path
from mutations import STRUCTURES, damaged
from one_format import Format

from artoolkit.networks.factory import TRUSTED_VARIABLE

# A town is trained for them, and a bundle judged.
pytestmark = pytest.mark.xdist_group("fuzz")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Format]:
    return list(formats(tmp_path_factory.mktemp("fuzz")))


@pytest.fixture(autouse=True)
def nothing_trusted_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRUSTED_VARIABLE, "")


def faults(counts: list[Count]) -> list[str]:
    """Every fault with its place."""
    places = [f"{count.format}: {place}" for count in counts for place in count.places]
    kinds = [kind for count in counts for kind in FAULTS if count.faults[kind]]
    return places or kinds


def test_whole_files_are_accepted(made: list[Format]) -> None:
    """Otherwise nothing would be shown by refusing damaged ones."""
    counts = [Count(one.name) for one in made]
    for one, count in zip(made, counts, strict=True):
        try_path(replace(one, sealed=False), b"", count, listed_codes())
    assert faults(counts) == []
    assert [count.format for count in counts if not count.codes[0]] == []


def test_damaged_files_are_refused_in_one_line(made: list[Format]) -> None:
    counts = run(made, inputs=1, seed=0)
    assert faults(counts) == []
    assert sum(count.inputs - count.codes[0] for count in counts) > len(made) // 2


def changed(old: str, new: str) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        text, count = re.subn(old, new, content.decode(), count=1, flags=re.MULTILINE)
        assert count
        return text.encode("utf-8", "surrogateescape")

    return change


# What failed once, and its neighbors: format, change, exit code.
FAILED: list[tuple[str, Callable[[bytes], bytes], int]] = [
    *(("metrics.jsonl", lambda _, line=line: line, 4) for line in (
        b"[]\n", b"3\n", b'{"kind": "iteration"}\n', b'{"kind": "iteration", "iteration": []}\n',
        b'{"kind": "iteration", "x": "\xff"}\n')),
    ("runs.jsonl", changed('"mIoU": 40.0', '"mIoU": null'), 4),
    ("runs.jsonl", changed('"mIoU": 40.0', '"mIoU": true'), 4),
    ("runs.jsonl", changed('"control"', '["control"]'), 4),
    ("runs.jsonl", changed('"seed": 1', '"seed": {}'), 4),
    ("synthetic.json", lambda content: content[:26], 4),
    ("synthetic.json", lambda content: b"[]", 2),
    ("classes", changed('"person"', '"[/x]"'), 0),
    ("classes", changed('"person"', '"[red]car"'), 0),
    ("target", changed("^imgsz = .*$", "imgsz = [64, 128000]"), 7),
    ("target", changed("^imgsz = .*$", "imgsz = [-1, -1]"), 7),
    ("target", changed("^imgsz = .*$", "imgsz = [1e400, nan]"), 7),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(FAILED)), ids=lambda number: FAILED[number][0])
def test_what_failed_once_ends_as_it_should(made: list[Format], case: int) -> None:
    name, change, code = FAILED[case]
    (one,) = (one for one in made if one.name == name)
    whole, count = one.path.read_bytes(), Count(name)
    try:
        one.path.write_bytes(change(whole))
        try_path(one, b"", count, listed_codes())
    finally:
        one.path.write_bytes(whole)
    assert (faults([count]), dict(count.codes)) == ([], {code: 1})


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "gone"])
def test_what_is_no_file_is_refused_unread(made: list[Format], kind: str, tmp_path: Path) -> None:
    counts, codes = [], listed_codes()
    # Opening a pipe is what would wait for ever; of the others, a third of the formats is enough.
    own = [one for one in made if one.reseal is None]
    for one in own if kind == "pipe" else own[("device", "folder", "gone").index(kind) :: 3]:
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
    assert faults(counts) == []


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
