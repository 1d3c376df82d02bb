"""Start a build in a fresh process and watch it: progress, cancellation, crashes.

A TensorRT builder can abort or run out of memory; here that becomes an `EngineError` of one line
instead of the end of the caller.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from artoolkit import errors
from artoolkit.backends.tensorrt.build import BuiltPlan, Progress
from artoolkit.backends.tensorrt.options import BuildOptions
from artoolkit.errors import ArtoolkitError, EngineError

_CANCEL_GRACE_S = 20.0


def build_in_process(
    onnx: Path, plan: Path, options: BuildOptions, *, progress: Progress | None = None
) -> BuiltPlan:
    """`build_plan` in a fresh process; `progress` runs in this one.

    Raises `EngineError` where the build fails or its process ends without an answer,
    `KeyboardInterrupt` on Ctrl-C or where `progress` returns False, after the build has stopped.
    """
    request = {"onnx": str(onnx), "plan": str(plan), "options": options.model_dump(mode="json")}
    with tempfile.TemporaryFile() as stderr, _worker(stderr) as process:
        assert process.stdin is not None and process.stdout is not None, "both are pipes"
        process.stdin.write((json.dumps(request) + "\n").encode())
        process.stdin.flush()
        for line in process.stdout:
            message = json.loads(line)
            if "phase" in message:
                if progress and not progress(message["phase"], message["share"]):
                    raise KeyboardInterrupt
            else:
                return _answer(message)
        raise _crash(process.wait(), stderr)


@contextlib.contextmanager
def _worker(stderr: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """The worker; leaving the block closes its stdin, which cancels a build that still runs."""
    command = [sys.executable, "-m", "artoolkit.backends.tensorrt.worker"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=stderr) as process:
        try:
            yield process
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Cancel at first, kill after a while, or at once where a second Ctrl-C arrives."""
    try:
        with contextlib.suppress(BrokenPipeError, subprocess.TimeoutExpired):
            process.communicate(timeout=_CANCEL_GRACE_S)
    finally:
        process.kill()


def _answer(message: dict[str, Any]) -> BuiltPlan:
    if "result" in message:
        return BuiltPlan.model_validate(message["result"])
    if "error" in message:
        error = message["error"]
        kind: type[ArtoolkitError] = getattr(errors, error["kind"], EngineError)
        raise kind(error["what"], hint=error["hint"])
    raise KeyboardInterrupt


def _crash(code: int, stderr: IO[bytes]) -> EngineError:
    stderr.seek(0)
    lines = [line for line in stderr.read().decode(errors="replace").splitlines() if line.strip()]
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    last = f": {lines[-1].strip()}" if lines else ""
    return EngineError(
        f"the process that built the engine ended with {how}{last}",
        hint="Out of memory ends it with SIGKILL; for anything else try another library version.",
    )
