"""Runs of an experiment on the workers of a Dask cluster, which see the same paths.

Dask's scheduler gives each run to a free worker, and to another one where a worker is lost; a run
that was begun goes on from its last state, as its folder is shared.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artoolkit.errors import TrainingError, UsageError
from artoolkit.optional import require
from artoolkit.training.arms import Run

if TYPE_CHECKING:
    from artoolkit.evaluation.experiment import Row

# torch's random numbers are a process's: one run at a time, however many threads a worker has.
_ONE = threading.Lock()
_PATHS = ("baseline", "out", "data_root", "classes", "recipe")
TIMEOUT_S = 30  # as Dask's own for a connection


def cluster_rows(
    address: str, options: Mapping[str, Any], runs: Sequence[Run]
) -> Iterator[tuple[Run, Row]]:
    """Does `runs` on the workers at `address`, and yields their rows as they come.

    `options` are those of `experiment.prepared`. Raises `UsageError` where there is no scheduler or
    where something is given as an object rather than a path, `TrainingError` where a run has lost
    its worker too often, and whatever stops a run.
    """
    distributed = require("distributed", "running an experiment on a cluster")
    shared = _absolute(options)
    try:
        client = distributed.Client(address, timeout=TIMEOUT_S, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise UsageError(f"no Dask scheduler answers at {address}", got=str(error)[:100]) from error
    with client:
        futures = {client.submit(run_here, shared, run, pure=False): run for run in runs}
        for future in distributed.as_completed(list(futures), loop=client.loop):
            run = futures[future]
            try:
                yield run, future.result()
            except distributed.KilledWorker as error:
                raise TrainingError(
                    f"the run {run.name} lost its worker several times",
                    hint="Usually memory ran out there. The same command goes on.",
                ) from error


def run_here(options: Mapping[str, Any], run: Run) -> Row:
    """One run in this process, on a worker; its row."""
    from artoolkit.training.experiment import Unwatched, do_run, prepared

    with _ONE:
        experiment, _ = prepared(**options)
        row = do_run(experiment, run, experiment.identity, Unwatched())
    if row is None:
        raise TrainingError(f"the run {run.name} was stopped on its worker")
    return row


def _absolute(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as other processes can read them, in any folder."""
    given = dict(options)
    for name in _PATHS:
        value = given.get(name)
        if isinstance(value, (Path, str)):
            given[name] = _resolved(value, force=name != "recipe")  # a recipe may be a name
    given["teachers"] = [_resolved(teacher) for teacher in given.get("teachers", ())]
    names = (given["baseline"], given.get("dataset") or "", given.get("recipe") or "")
    if not all(isinstance(name, str) for name in names):
        raise UsageError("a cluster takes a baseline and a data set by their paths and names")
    # A worker of Dask may not have processes of its own.
    return given | {"workers": given.get("workers") or 0}


def _resolved(value: Any, *, force: bool = False) -> Any:
    """A path from the root; as it is where it is no path of this machine (NETWORK=FILE, a name)."""
    if isinstance(value, (Path, str)) and (force or Path(value).exists()):
        return str(Path(value).resolve())
    return value
