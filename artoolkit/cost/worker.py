"""One network alone in a fresh process: its peak memory, nothing of ours or torch's beside it.

`python -m artoolkit.cost.worker PATH` opens a bundle or ONNX file, runs it a few times and
prints one line of JSON. `process_memory` starts it. The peak is what the kernel counted for the
process (VmHWM), which includes the interpreter and the libraries: hence the reading before opening.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from artoolkit.cost.memory import ProcessMemory
from artoolkit.errors import BackendError

INFERENCES = 5
_STATUS = Path("/proc/self/status")


def resident_bytes() -> tuple[int, int]:
    """Resident memory of this process now and at its peak, in bytes."""
    if _STATUS.is_file():
        fields = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
        now, peak = (int(fields[key].split()[0]) * 1024 for key in ("VmRSS", "VmHWM"))
        return now, peak
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak *= 1 if sys.platform == "darwin" else 1024
    return peak, peak


def run_alone(
    path: Path,
    *,
    backend: str | None,
    device: str | None,
    threads: int | None,
    inferences: int = INFERENCES,
) -> dict[str, Any]:
    """What the worker prints: resident bytes before opening and at the peak, and what it loaded."""
    from artoolkit.cost.opening import feeds_for, open_any

    before, _ = resident_bytes()
    with closing(open_any(path, backend=backend, device=device, threads=threads)) as runner:
        batch = feeds_for(path, runner.spec)
        for _ in range(inferences):
            runner.infer(batch)
    _, peak = resident_bytes()
    return {"before": before, "peak": peak, "torch": "torch" in sys.modules}


def process_memory(
    path: Path,
    *,
    backend: str | None = None,
    device: str | None = None,
    threads: int | None = None,
    runs: int = 3,
    timeout_s: float = 300.0,
) -> ProcessMemory:
    """Peaks of `runs` fresh processes that run `path`; `BackendError` if one fails.

    Runs of one program differ by some pages, so the spread is part of the answer.
    """
    arguments = json.dumps(
        {"path": str(path), "backend": backend, "device": device, "threads": threads}
    )
    command = [sys.executable, "-m", "artoolkit.cost.worker", arguments]
    answers = []
    for _ in range(runs):
        try:
            run = subprocess.run(
                command, capture_output=True, text=True, timeout=timeout_s, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise BackendError(f"{path} did not run within {timeout_s:.0f} s alone") from error
        if run.returncode != 0:
            lines = run.stderr.strip().splitlines() or ["no message"]
            raise BackendError(f"{path} does not run in a process of its own", got=lines[-1])
        answers.append(json.loads(run.stdout.splitlines()[-1]))
    return ProcessMemory(
        before_bytes=max(answer["before"] for answer in answers),
        peak_bytes=tuple(answer["peak"] for answer in answers),
        torch_imported=any(answer["torch"] for answer in answers),
    )


def main() -> None:
    arguments = json.loads(sys.argv[1])
    answer = run_alone(
        Path(arguments["path"]),
        backend=arguments["backend"],
        device=arguments["device"],
        threads=arguments["threads"],
    )
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
