"""A process that dies at every step in which it changes the file system, one after the other.

Python tells an audit hook of each such step before it is made; the forked child ends there, without
cleaning up, as a killed process does. A file that is opened for writing is two steps: the child
ends before it, and with half of a file written.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

KILLED = 77
_STEPS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def _end(event: str, arguments: tuple[Any, ...], *, half: bool) -> None:
    """End the child; `half`: the file that it was about to open is there, cut."""
    if half:
        path, _mode, flags = arguments
        os.write(os.open(path, flags & ~os.O_EXCL, 0o600), b"half")
    os._exit(KILLED)


def killed_at(step: int, action: Callable[[], object]) -> bool:
    """Run `action` in a forked process that dies at its `step`-th change; whether it died."""
    child = os.fork()
    if child == 0:
        seen = count(1)

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            opens = event == "open" and bool(arguments[2] & _WRITING)
            if (opens or event in _STEPS) and next(seen) == step:
                _end(event, arguments, half=False)
            if opens and next(seen) == step:
                _end(event, arguments, half=True)

        code = 1
        try:
            sys.addaudithook(hook)
            action()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, KILLED), f"the action failed by itself at step {step}"
    return code == KILLED


def every_crash(
    action: Callable[[], object], restore: Callable[[], None], *, each: int = 1
) -> Iterator[int]:
    """Restore, crash at step 1, 1 + `each`, ... and yield after each; ends when it gets through."""
    for step in count(1, each):
        restore()
        if not killed_at(step, action):
            return
        yield step
