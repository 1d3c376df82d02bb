"""One build in a process of its own: `python -m artoolkit.backends.tensorrt.worker`.

The first line of stdin is the request; when stdin ends, because the parent cancelled or died, the
build is cancelled. stdout carries one JSON object a line: progress, then a result or an error.
Read first: `artoolkit.backends.tensorrt.process`, the other end.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from artoolkit.backends.tensorrt.build import build_plan
from artoolkit.backends.tensorrt.cuda_memory import device_index, open_cuda
from artoolkit.backends.tensorrt.options import BuildOptions
from artoolkit.errors import ArtoolkitError

_REPORT_EVERY_S = 0.05


class _Reporter:
    """Writes progress, at most 20 times a second, and answers whether to go on."""

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

    def cancel_at_end_of(self, stream: Any) -> None:
        def wait() -> None:
            stream.read()
            self._cancelled.set()

        threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    # The terminal sends Ctrl-C to the whole group; only the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The library may print; what it prints must not get between the messages.
    reporter = _Reporter(os.dup(1))
    os.dup2(2, 1)
    request = json.loads(sys.stdin.buffer.readline())
    reporter.cancel_at_end_of(sys.stdin.buffer)
    options = BuildOptions.model_validate(request["options"])
    try:
        if options.library == "tensorrt" and device_index(options.device):
            open_cuda(options.device)  # makes it this thread's device, which the builder takes
        built = build_plan(
            Path(request["onnx"]), Path(request["plan"]), options, progress=reporter.progress
        )
    except ArtoolkitError as error:
        reporter.send(error={"kind": type(error).__name__, "what": error.what, "hint": error.hint})
    except OSError as error:
        reporter.send(error={"kind": "StorageError", "what": str(error), "hint": None})
    except KeyboardInterrupt:
        reporter.send(cancelled=True)
    else:
        reporter.send(result=built.model_dump(mode="json"))


if __name__ == "__main__":
    main()
