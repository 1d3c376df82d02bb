"""The checks for any two ONNX files: graph, plan, memory, latency and outputs.

Neither bundle nor data set is needed, so the evidence serves networks that artoolkit never
trained. Without a list of trained parameters, the initialisers that convolutions and matrix
products take as weights are taken for trained, and their values may differ.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artoolkit.backends import backend_named
from artoolkit.backends.runner import Feeds
from artoolkit.checks.compare import PROCESS_RUNS, Settings, attempt, program_check
from artoolkit.checks.graph_check import check_graph
from artoolkit.checks.latency_check import check_latency
from artoolkit.checks.memory import check_memory
from artoolkit.cost.accelerator import device_identity, gpu_reader
from artoolkit.cost.latency import measure_latency
from artoolkit.cost.machine import Machine
from artoolkit.cost.memory import MemoryMeasurement, process_memory
from artoolkit.cost.opening import read_feeds, seeded_feeds
from artoolkit.evidence.records import Record, header
from artoolkit.evidence.seal import file_sha256
from artoolkit.evidence.verdict import Check, Subject, Verdict, decide
from artoolkit.spec import Margins

BATCHES = 4


def check_outputs(baseline: dict[str, NDArray[Any]], candidate: dict[str, NDArray[Any]]) -> Check:
    """PASS if both give the same names, types and shapes, and only finite values.

    Weights differ, so values may: how far they lie apart is reported, not judged.
    """
    one, other = (
        {name: f"{a.dtype.name} {'x'.join(map(str, a.shape))}" for name, a in outputs.items()}
        for outputs in (baseline, candidate)
    )
    if one != other:
        return Check(name="outputs", result="FAIL", summary=f"{one} against {other}")
    unfinished = [
        name for name, array in candidate.items()
        if array.dtype.kind == "f" and not np.isfinite(array).all()
    ]  # fmt: skip
    if unfinished:
        summary = f"not finite in the candidate: {', '.join(unfinished)}"
        return Check(name="outputs", result="FAIL", summary=summary)
    apart = {
        name: float(np.abs(array.astype(np.float64) - candidate[name].astype(np.float64)).max())
        for name, array in baseline.items()
        if array.size
    }
    words = ", ".join(f"{name} by at most {value:.3g}" for name, value in apart.items())
    return Check(
        name="outputs",
        result="PASS",
        summary=f"same names, types and shapes, finite; values differ: {words}",
        numbers={"largest_difference": apart},
    )


class _Files:
    """The two files, what they are fed, and the records made so far."""

    def __init__(
        self, baseline: Path, candidate: Path, settings: Settings, inputs: Path | None
    ) -> None:
        self.paths, self.settings = (baseline, candidate), settings
        self.backend = backend_named(settings.backend or "onnxruntime")
        self.device = self.backend.device_for(baseline, settings.device)
        self.records: dict[str, Record] = {}
        with closing(self.open(baseline)) as runner:
            spec = runner.spec
        if inputs is not None:
            self.feeds: list[Feeds] = [read_feeds(inputs, spec)]
        else:
            random = np.random.default_rng(settings.seed)
            self.feeds = [seeded_feeds(spec, random) for _ in range(BATCHES)]

    def open(self, path: Path) -> Any:
        return self.backend.open(path, device=self.device, threads=self.settings.threads)

    def subject(self, path: Path) -> Subject:
        return Subject(name=path.name, sha256=file_sha256(path))

    def graph(self) -> Check:
        return check_graph(*self.paths)

    def plan(self) -> Check:
        return program_check("plan", self.backend, self.paths, self.settings, self.device, True)

    def memory(self) -> Check:
        measured = []
        for role, path in zip(("baseline", "candidate"), self.paths, strict=True):
            source, components = self.backend.memory(path, device=self.device)
            record = MemoryMeasurement(
                **header(MemoryMeasurement),
                subject=self.subject(path),
                source=source,
                components=components,
                process=process_memory(
                    path, backend=self.backend.name, device=self.device, runs=PROCESS_RUNS
                )
                if self.settings.process_memory
                else None,
            )
            self.records[f"memory-{role}.json"] = record
            measured.append(record)
        return check_memory(*measured)

    def latency(self) -> Check:
        baseline, candidate = self.paths
        measurement = measure_latency(
            lambda: self.open(baseline),
            lambda: self.open(candidate),
            images=self.feeds,
            plan=self.settings.latency_plan(Margins().latency_percent),
            machine=Machine(gpu_reader(self.device)),
            progress=self.settings.progress,
        )
        self.records["latency.json"] = measurement
        return check_latency(measurement)

    def outputs(self) -> Check:
        results = []
        for path in self.paths:
            with closing(self.open(path)) as runner:
                results.append(runner.infer(self.feeds[0]))
        return check_outputs(*results)


def compare_onnx(
    baseline: Path, candidate: Path, settings: Settings, *, inputs: Path | None = None
) -> tuple[Verdict, dict[str, Record]]:
    """The verdict over two ONNX files and the raw records by file name, nothing written.

    Inputs come from the .npz file `inputs`, or from `settings.seed` in the declared shapes.
    Raises `BackendError` where the baseline does not open, `DataError` for inputs that do not fit.
    """
    files = _Files(baseline, candidate, settings, inputs)
    questions = {
        "graph": files.graph,
        "plan": files.plan,
        "memory": files.memory,
        "latency": files.latency,
        "outputs": files.outputs,
    }
    checks = [attempt(name, True, question) for name, question in questions.items()]
    verdict = decide(
        checks,
        baseline=files.subject(baseline),
        candidate=files.subject(candidate),
        target={"margins": Margins().model_dump(mode="json")},
        measurements={name: record.sha256() for name, record in files.records.items()},
        seed=settings.seed,
        device=device_identity(files.device),
    )
    return verdict, files.records
