"""A process that dies at every step in which it changes the file system, one after the other.

Python tells an audit hook of each such step before it is made; the forked child ends there, without
cleaning up, as a killed process does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

KILLED = 77
_STEPS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate"}


def _writes(event: str, arguments: tuple[Any, ...]) -> bool:
    if event == "open":
        _path, mode, flags = arguments
        writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
        return bool(flags & writing) if mode is None else any(c in mode for c in "wax+")
    return event in _STEPS


def killed_at(step: int, action: Callable[[], object]) -> bool:
    """Run `action` in a forked process that dies before its `step`-th change; whether it died."""
    child = os.fork()
    if child == 0:
        seen = count(1)

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            if _writes(event, arguments) and next(seen) == step:
                os._exit(KILLED)

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


def every_crash(action: Callable[[], object], restore: Callable[[], None]) -> Iterator[int]:
    """Restore, crash at step 1, 2, ... and yield after each; ends when the action gets through."""
    for step in count(1):
        restore()
        if not killed_at(step, action):
            return
        yield step
