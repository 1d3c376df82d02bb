"""A function of artoolkit run in a fresh process: progress, cancellation, crashes, errors.

A vendor's library can abort or run out of memory; here that becomes an error of one line instead
of the end of the caller. Request, progress and answer are JSON objects, one a line. When the
child's stdin ends, because the parent cancelled or died, the child is told to stop.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from multiprocessing import util
from pathlib import Path
from typing import IO, Any

from artoolkit import errors
from artoolkit.errors import ArtoolkitError, BackendError

# Told what is done and which share of it; False cancels.
Progress = Callable[[str, float], bool]
_CANCEL_GRACE_S = 20.0
# More often than 20 times a second helps nobody who watches, and would slow a build.
_REPORT_EVERY_S = 0.05
# Nothing may be imported before the path is set: a json.py where the user stands is not ours.
_CHILD = "import sys; sys.path[:] = sys.argv[1:]; from artoolkit.fresh_process import main; main()"


def call_fresh(
    place: str,
    request: Mapping[str, Any],
    *,
    what: str,
    progress: Progress | None = None,
    crash: type[ArtoolkitError] = BackendError,
    timeout_s: float | None = None,
) -> dict[str, Any]:
    """Result of the function at `place` ("module:name") for `request` and a `Progress`.

    Its own errors are raised here as they were there; `crash` is raised where the process `what`
    ("that built the engine") ends without an answer or not in time, `KeyboardInterrupt` on Ctrl-C
    or where `progress` returns False, after the function has stopped.
    """
    with tempfile.TemporaryFile() as stderr, _child(stderr) as process, _limit(process, timeout_s):
        assert process.stdin is not None and process.stdout is not None, "both are pipes"
        # A child that ended already is told of below, with what it said.
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write((json.dumps({"place": place, "request": request}) + "\n").encode())
            process.stdin.flush()
        for line in process.stdout:
            message = json.loads(line)
            if "phase" in message:
                if progress and not progress(message["phase"], message["share"]):
                    raise KeyboardInterrupt
            else:
                return _answer(message)
        raise _crash(crash, what, process.wait(), stderr)


def _path() -> list[str]:
    """Import path of the child: as here, but not from where the user stands."""
    here, home = Path.cwd(), str(Path(__file__).resolve().parent.parent)
    return [*(entry for entry in sys.path if entry and Path(entry).absolute() != here), home]


@contextlib.contextmanager
def isolated_workers() -> Iterator[None]:
    """Start `multiprocessing`'s workers so that they import nothing from where the user stands.

    Spawned ones run `python -c`, which looks there first; their path then comes from this process.
    """
    before = util._args_from_interpreter_flags  # type: ignore[attr-defined]
    safe = "-P" if sys.version_info >= (3, 11) else "-I"
    util._args_from_interpreter_flags = lambda: [*before(), safe]  # type: ignore[attr-defined]
    try:
        yield
    finally:
        util._args_from_interpreter_flags = before  # type: ignore[attr-defined]


@contextlib.contextmanager
def _child(stderr: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """The child; leaving the block closes its stdin, which cancels what still runs."""
    command, pipe = [sys.executable, "-c", _CHILD, *_path()], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=stderr) as process:
        try:
            yield process
        finally:
            # Cancel at first, kill after a while, or at once where a second Ctrl-C arrives.
            try:
                with contextlib.suppress(BrokenPipeError, subprocess.TimeoutExpired):
                    process.communicate(timeout=_CANCEL_GRACE_S)
            finally:
                process.kill()


@contextlib.contextmanager
def _limit(process: subprocess.Popen[bytes], timeout_s: float | None) -> Iterator[None]:
    """Kill the process when its time is over."""
    if timeout_s is None:
        yield
        return
    timer = threading.Timer(timeout_s, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _answer(message: dict[str, Any]) -> dict[str, Any]:
    if "result" in message:
        result: dict[str, Any] = message["result"]
        return result
    if "error" in message:
        error = message["error"]
        kind: type[ArtoolkitError] = getattr(errors, error.pop("kind"))
        raise kind(**error)
    raise KeyboardInterrupt


def _crash(kind: type[ArtoolkitError], what: str, code: int, stderr: IO[bytes]) -> ArtoolkitError:
    stderr.seek(0)
    lines = [line for line in stderr.read().decode(errors="replace").splitlines() if line.strip()]
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    last = f": {lines[-1].strip()}" if lines else ""
    return kind(
        f"the process {what} ended with {how}{last}",
        hint="Too little memory or too much time ends it with SIGKILL.",
    )


class _Reporter:
    """Writes messages, progress not too often, and answers whether to go on."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._cancelled = threading.Event()
        self._next = 0.0

    def send(self, **message: Any) -> None:
        os.write(self._descriptor, (json.dumps(message) + "\n").encode())

    def progress(self, phase: str, share: float) -> bool:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _REPORT_EVERY_S
            self.send(phase=phase, share=share)
        return not self._cancelled.is_set()

    def cancel_at_end_of(self, stream: IO[bytes]) -> None:
        def wait() -> None:
            stream.read()
            self._cancelled.set()

        threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    """The child: one request from stdin, answered on what was stdout."""
    # The terminal sends Ctrl-C to the whole group; only the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A library may print; what it prints must not get between the messages.
    reporter = _Reporter(os.dup(1))
    os.dup2(2, 1)
    message = json.loads(sys.stdin.buffer.readline())
    reporter.cancel_at_end_of(sys.stdin.buffer)
    module, _, name = message["place"].partition(":")
    try:
        result = getattr(import_module(module), name)(message["request"], reporter.progress)
    except ArtoolkitError as error:
        words = {"got": error.got, "expected": error.expected}
        told = {key: None if value is None else str(value) for key, value in words.items()}
        reporter.send(
            error={"kind": type(error).__name__, "what": error.what, "hint": error.hint} | told
        )
    except OSError as error:
        reporter.send(error={"kind": "StorageError", "what": str(error)})
    except KeyboardInterrupt:
        reporter.send(cancelled=True)
    else:
        reporter.send(result=result)
