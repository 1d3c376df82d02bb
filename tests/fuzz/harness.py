"""Runs damaged files through the commands that read them, in this process, and counts what fails.

Counted: exceptions that are no error of one line, commands that take longer than 20 s, that need
more than 4 GiB, that end with a code which the README does not list, and sealed files that were
changed and accepted.
"""

from __future__ import annotations

import contextlib
import gc
import io
import re
import resource
import signal
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import click
import pytest
from one_format import Format

import artoolkit.cli
from artoolkit.errors import ArtoolkitError

MOST_SECONDS, MOST_BYTES = 20, 4 << 30
FAULTS = ("tracebacks", "hangs", "memory errors", "unknown exit codes", "silent acceptances")
README = Path(__file__).parents[2] / "README.md"
# What numpy and torch say where they get no memory.
_NO_MEMORY = re.compile(r"MemoryError|[Uu]nable to allocate|can.t allocate memory|bad_alloc", re.I)


class Hang(BaseException):
    """Time is over; no `except Exception` may take it for the file's fault."""


@dataclass
class Count:
    """What came of the inputs of one format: exit codes, and faults with what to look for."""

    format: str
    inputs: int = 0
    codes: Counter[int] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    places: dict[str, bytes] = field(default_factory=dict)

    def fault(self, kind: str, place: str, content: bytes) -> None:
        self.faults[kind] += 1
        self.places.setdefault(f"{kind}: {place}", content)


def listed_codes() -> set[int]:
    """The exit codes in the README's table."""
    text = README.read_text(encoding="utf-8")
    table = text[text.index("| exit code |") :].split("\n\n")[0]
    cells = re.findall(r"\| ([\d, ]+) (?=\|)", table)
    return {int(code) for cell in cells for code in cell.split(",")}


def _place(error: BaseException) -> str:
    """The innermost line of artoolkit, so that equal faults are counted as one."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/artoolkit/" in f.filename]
    where = frames[-1] if frames else None
    name = f"{Path(where.filename).name}:{where.lineno}" if where else "?"
    return f"{name} {type(error).__name__}: {str(error)[:90]!r}"


@contextlib.contextmanager
def limits() -> Iterator[None]:
    """At most 4 GiB more than now, and an alarm that ends what hangs."""

    def ring(_signal: int, _frame: object) -> None:
        raise Hang

    before = resource.getrlimit(resource.RLIMIT_AS)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MOST_BYTES, before[1]))
    handler = signal.signal(signal.SIGALRM, ring)
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)


def try_one(one: Format, content: bytes, count: Count, known: set[int]) -> None:
    """One damaged file in its place, read; what goes wrong is added to `count`."""
    one.path.write_bytes(content)
    if one.mend:
        one.mend()
    try_path(one, content, count, known)


def try_path(
    one: Format, content: bytes, count: Count, known: set[int], *, again: bool = False
) -> None:
    """Whatever is at the format's path, read; what goes wrong is added to `count`.

    What took too long on a busy machine may be quick the second time; what hangs, hangs again.
    """
    crashes: list[BaseException] = []
    said = io.StringIO()
    count.inputs += 1
    code = None
    signal.setitimer(signal.ITIMER_REAL, MOST_SECONDS)
    try:
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(said),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            patch.setattr(artoolkit.cli, "_crash", lambda e: crashes.append(e) or 70)
            code = one.use() or 0
    except ArtoolkitError as error:
        said.write(str(error))
        code = error.exit_code
    except click.ClickException as error:
        code = error.exit_code
    except Hang:
        if not again:
            count.inputs -= 1
            try_path(one, content, count, known, again=True)
            return
        count.fault("hangs", one.name, content)
    except BaseException as error:
        crashes.append(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    for error in crashes:
        kind = "memory errors" if isinstance(error, MemoryError) else "tracebacks"
        count.fault(kind, _place(error), content)
    if _NO_MEMORY.search(said.getvalue()):
        count.fault("memory errors", said.getvalue()[:200], content)
    if code is None:
        return
    count.codes[code] += 1
    if code not in known:
        count.fault("unknown exit codes", str(code), content)
    if one.sealed and code == 0:
        count.fault("silent acceptances", one.name, content)


def run(formats: Iterable[Format], *, inputs: int, seed: int) -> list[Count]:
    """`inputs` damaged files of each format, the same for the same seed."""
    known, counts = listed_codes(), []
    with limits():
        for one in formats:
            whole, folder = one.path.read_bytes(), one.path.parent
            random, count = Random(f"{seed} {one.name}"), Count(one.name)
            for _ in range(inputs):
                try_one(one, one.damage(random, whole), count, known)
            folder.mkdir(exist_ok=True)
            one.path.write_bytes(whole)
            if one.mend:
                one.mend()
            counts.append(count)
            print(count.format, dict(count.codes), dict(count.faults), file=sys.stderr, flush=True)
    gc.collect()
    return counts
