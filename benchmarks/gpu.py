"""Everything that needs a GPU, in one command: engines, plans, memory, latency A/A and A/B.

    python benchmarks/gpu.py                 on a machine with an NVIDIA GPU
    python benchmarks/gpu.py --dry-run       here: runs what needs no GPU, says why not the rest

Two untrained checkpoints of a network are the pair. Every step writes its raw values, or the reason
why it could not run, into one result file. `gpu.toml` says what is measured.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
from result_file import write_result

from artoolkit.backends.onnxruntime.runner import open_onnxruntime
from artoolkit.backends.tensorrt.cuda import Gpu, open_cuda
from artoolkit.backends.tensorrt.loader import build_engine, options_for
from artoolkit.backends.tensorrt.pair import compare_engines
from artoolkit.backends.tensorrt.program import compare_programs, in_words
from artoolkit.backends.tensorrt.runner import TensorrtRunner, open_tensorrt
from artoolkit.cost.latency import measure_latency
from artoolkit.cost.latency_record import LatencyPlan
from artoolkit.errors import ArtoolkitError, BackendError, RecipeError
from artoolkit.evidence.bundle import Bundle
from artoolkit.spec import Target, read_toml
from artoolkit.targets import find_target

SUITE = Path(__file__).parent / "gpu.toml"
SEEDS = {"A": 0, "B": 1}
CLASSES = 19


@dataclass(frozen=True)
class Arm:
    """One of the two networks: its bundle, and how torch opens it (None: it cannot)."""

    bundle: Bundle
    open_torch: Callable[[str], Any] | None = None


Pair = tuple[Arm, Arm]


@dataclass(frozen=True)
class Settings:
    """The suite's values, the dry run's put over them where it is one."""

    networks: tuple[str, ...]
    precisions: tuple[str, ...]
    imgsz: tuple[int, int]
    target: str
    backends: tuple[str, ...]
    cuda_graph: tuple[bool, ...]
    rtx_capabilities: tuple[str, ...]
    gpu_time_pairs: int
    gpu_time_inferences: int
    latency: dict[str, Any]


def read_settings(path: Path, *, dry_run: bool) -> Settings:
    """Raises `RecipeError` where a value is missing or unknown."""
    values = read_toml(path, "suite")
    small = values.pop("dry_run", {})
    values |= small if dry_run else {}
    try:
        return Settings(
            **{key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
        )
    except TypeError as error:
        raise RecipeError(f"suite {path} is not valid: {error}") from error


def target_of(settings: Settings, precision: str, gpu: Gpu | None) -> Target:
    """The suite's target, for the GPU that is here."""
    here = {"compute_capabilities": (gpu.compute_capability,)} if gpu else {}
    return find_target(settings.target, precision=precision, imgsz=settings.imgsz, **here)


def make_pair(network: str, target: Target, folder: Path) -> Pair:
    """The same network with other weights, twice."""
    a, b = (make_arm(network, target, folder, seed) for seed in SEEDS.values())
    return a, b


def make_arm(network: str, target: Target, folder: Path, seed: int) -> Arm:
    from artoolkit.backends.torch.runner import open_torch
    from artoolkit.data.street.scene import street_scene
    from artoolkit.deploy.export import export_bundle
    from artoolkit.deploy.graph import deployed_module
    from artoolkit.deploy.untrained import untrained_checkpoint

    checkpoint = untrained_checkpoint(network, CLASSES, seed=seed)
    images = [street_scene(number, target.imgsz)[0] for number in range(2)]
    out = folder / f"{network}-{target.precision}-{seed}"

    def opened(device: str) -> Any:
        module = deployed_module(checkpoint.network(), checkpoint.meta.preprocess, target)
        return open_torch(module, (target.batch, *target.imgsz, 3), device=device)

    return Arm(export_bundle(checkpoint, target, out, images=images), opened)


def gpu_here() -> tuple[Gpu | None, str]:
    """The first GPU, or why there is none."""
    try:
        cuda = open_cuda("cuda:0")
    except ArtoolkitError as error:
        return None, str(error)
    cuda.close()
    return cuda.gpu, ""


class Report:
    """Runs steps and keeps what each gave, or the reason why it could not run."""

    def __init__(self) -> None:
        self.steps: dict[str, Any] = {}

    def step(self, name: str, run: Callable[[], Any]) -> bool:
        """Run the step; True if it ran. An `ArtoolkitError` is its reason, any other a bug."""
        try:
            self.steps[name] = {"result": run()}
        except ArtoolkitError as error:
            self.steps[name] = {"unavailable": str(error)}
        ran = "result" in self.steps[name]
        click.echo(f"{'ran ' if ran else 'skip'} {name}" + self._reason(name, ran))
        return ran

    def _reason(self, name: str, ran: bool) -> str:
        return "" if ran else f": {self.steps[name]['unavailable']}"


def opener(arm: Arm, backend: str, device: str, *, cuda_graph: bool = False) -> Any:
    """Open one arm on a column of the table."""
    if backend == "torch":
        if arm.open_torch is None:
            raise BackendError("this bundle has no checkpoint for torch")
        return arm.open_torch(device)
    if backend == "onnxruntime":
        return open_onnxruntime(arm.bundle.model, device=device)
    library = options_for(arm.bundle.manifest.target, library=backend).library
    return open_tensorrt(arm.bundle, library=library, device=device, cuda_graph=cuda_graph)


def latency(
    pair: Pair, backend: str, device: str, settings: Settings, *, cuda_graph: bool = False
) -> dict[str, Any]:
    """Host to host, A/A control first, then A against B; all samples."""
    images = [image[None] for image in pair[0].bundle.golden()["images"]]
    record = measure_latency(
        lambda: opener(pair[0], backend, device, cuda_graph=cuda_graph),
        lambda: opener(pair[1], backend, device, cuda_graph=cuda_graph),
        images=images,
        plan=LatencyPlan(**settings.latency),
    )
    return record.model_dump(mode="json", exclude={"environment", "command", "created"})


def event_times(runner: TensorrtRunner, image: Any, count: int) -> list[float]:
    """Milliseconds of GPU time of `count` inferences, by events around the execution alone."""
    begin, end = runner.cuda.event(), runner.cuda.event()
    times = []
    for _ in range(count):
        runner.upload(image)
        runner.cuda.record(begin, runner.stream)
        runner.enqueue()
        runner.cuda.record(end, runner.stream)
        runner.cuda.synchronize(runner.stream)
        times.append(runner.cuda.elapsed_ms(begin, end))
    runner.cuda.free_event(begin)
    runner.cuda.free_event(end)
    return times


def by_events(
    pair: Pair, backend: str, device: str, settings: Settings, *, cuda_graph: bool = False
) -> dict[str, Any]:
    """GPU times in blocks A B B A, both engines open; and their memory."""
    image, count = pair[0].bundle.golden()["images"][:1], settings.gpu_time_inferences
    blocks: dict[str, list[list[float]]] = {"A": [], "B": []}
    with (
        opener(pair[0], backend, device, cuda_graph=cuda_graph) as a,
        opener(pair[1], backend, device, cuda_graph=cuda_graph) as b,
    ):
        runners = {"A": a, "B": b}
        for runner in runners.values():
            event_times(runner, image, count)
        for index in range(settings.gpu_time_pairs):
            for name in ("AB", "BA")[index % 2]:
                blocks[name].append(event_times(runners[name], image, count))
        memory = {name: memory_of(runner) for name, runner in runners.items()}
    return {"blocks_ms": blocks, "memory": memory}


def memory_of(runner: TensorrtRunner) -> dict[str, Any]:
    """Bytes by component, as the engine and its sidecar tell them."""
    kept = ("plan_bytes", "weights_bytes", "activation_bytes")
    io = sum(
        int(np.prod(t.shape)) * np.dtype(t.dtype).itemsize
        for t in (*runner.spec.inputs, *runner.spec.outputs)
    )
    return {key: runner.spec.settings[key] for key in kept} | {"io_bytes": io}


def on_tensorrt(report: Report, name: str, pair: Pair, backend: str, settings: Settings) -> None:
    """One TensorRT library: both engines, then times with and without CUDA graph."""
    engines = {
        arm: report.step(f"{name} {backend} engine {arm}", partial(built, pair[index], backend))
        for index, arm in enumerate(SEEDS)
    }
    if not all(engines.values()):
        return
    for graph in settings.cuda_graph:
        form = f"{name} {backend}{' cuda graph' if graph else ''}"
        arguments = (pair, backend, "cuda:0", settings)
        report.step(f"{form} latency", partial(latency, *arguments, cuda_graph=graph))
        report.step(f"{form} gpu time", partial(by_events, *arguments, cuda_graph=graph))


def built(arm: Arm, backend: str) -> dict[str, Any]:
    """Build the arm's engine; its sidecar without what names this machine's folders."""
    options = options_for(arm.bundle.manifest.target, library=backend)
    sidecar = build_engine(arm.bundle, options).sidecar
    return sidecar.model_dump(mode="json", exclude={"trtexec", "metadata", "options"})


def plans(pair: Pair, settings: Settings) -> dict[str, Any]:
    """The RTX proof for every capability of the suite; needs no GPU."""
    manifest = pair[0].bundle.manifest
    found = compare_programs(
        pair[0].bundle.model,
        pair[1].bundle.model,
        trained=manifest.trained,
        compute_capabilities=settings.rtx_capabilities,
        precision=manifest.target.precision,
    )
    return asdict(in_words(found))


def controlled_pair(pair: Pair) -> dict[str, Any]:
    """TensorRT's engines from one timing cache, three builds an arm."""
    a, b = (arm.bundle for arm in pair)
    options = options_for(a.manifest.target, library="tensorrt")
    with tempfile.TemporaryDirectory() as folder:
        return asdict(compare_engines(a.model, b.model, Path(folder), options, refit=True))


def run_pair(report: Report, name: str, pair: Pair, settings: Settings, *, gpu: bool) -> None:
    """Every step for one network in one precision."""
    report.step(f"{name} rtx plans", partial(plans, pair, settings))
    report.step(f"{name} tensorrt controlled pair", partial(controlled_pair, pair))
    device = "cuda:0" if gpu else "cpu"
    for backend in settings.backends:
        if backend.startswith("tensorrt"):
            on_tensorrt(report, name, pair, backend, settings)
        else:
            run = partial(latency, pair, backend, device, settings)
            report.step(f"{name} {backend} {device} latency", run)


@click.command()
@click.option("--suite", default=SUITE, type=click.Path(path_type=Path), show_default=True)
@click.option("--machine", default="workstation", show_default=True, help="Kind of machine.")
@click.option("--dry-run", is_flag=True, help="Small sizes; run what needs no GPU.")
def main(*, suite: Path, machine: str, dry_run: bool) -> None:
    """Run the suite and write its result file."""
    settings = read_settings(suite, dry_run=dry_run)
    gpu, reason = gpu_here()
    if gpu is None and not dry_run:
        raise SystemExit(f"error: this suite needs an NVIDIA GPU: {reason}")
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        for network in settings.networks:
            for precision in settings.precisions:
                target = target_of(settings, precision, gpu)
                pair = make_pair(network, target, Path(folder))
                run_pair(report, f"{network} {precision}", pair, settings, gpu=gpu is not None)
    device = gpu.name.lower().replace(" ", "-") if gpu else "no-gpu"
    name = "gpu-dry-run" if dry_run else "gpu"
    raw = {"gpu": vars(gpu) if gpu else reason, "steps": report.steps}
    path = write_result(name, machine=machine, device=device, settings=vars(settings), raw=raw)
    click.echo(path)


if __name__ == "__main__":
    main()
