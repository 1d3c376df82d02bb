"""Everything that needs a GPU, in one command: engines, plans, memory, latency A/A and A/B.

    python benchmarks/gpu.py                          on a machine with an NVIDIA GPU
    python benchmarks/gpu.py --steps "fp16 tensorrt"  only steps with these words in their name
    python benchmarks/gpu.py --dry-run                names of the steps; builds nothing
    artoolkit benchmark --suite gpu                   the same from an installed wheel

Two untrained checkpoints of a network are the pair. The result file is written after every step,
with its raw values or the reason why it could not run; the same command goes on with what is left.
`gpu.toml` says what is measured.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import click
import numpy as np
from result_file import RESULTS, ResultFile, result_path, write_result

from artoolkit.backends.onnxruntime.runner import open_onnxruntime
from artoolkit.backends.tensorrt.cuda import Gpu, open_cuda
from artoolkit.backends.tensorrt.loader import build_engine, options_for
from artoolkit.backends.tensorrt.pair import compare_engines
from artoolkit.backends.tensorrt.program import compare_programs, in_words
from artoolkit.backends.tensorrt.runner import TensorrtRunner, open_tensorrt
from artoolkit.cost.latency import measure_latency
from artoolkit.cost.latency_record import LatencySettings
from artoolkit.errors import ArtoolkitError, BackendError, RecipeError
from artoolkit.evidence.bundle import Bundle
from artoolkit.evidence.records import read_record
from artoolkit.graph.forms import write_form
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
    """The suite's values."""

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


def read_settings(path: Path) -> Settings:
    """Raises `RecipeError` where a value is missing or unknown."""
    values = read_toml(path, "suite")
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

    checkpoint = untrained_checkpoint(network, CLASSES, seed=seed, imgsz=target.imgsz)
    images = [street_scene(number, target.imgsz)[0] for number in range(2)]
    out = folder / f"{network}-{target.precision}-{seed}"

    def opened(device: str) -> Any:
        module = deployed_module(checkpoint.network(), checkpoint.meta.preprocess, target)
        tf32 = target.precision == "tf32"
        return open_torch(module, (target.batch, *target.imgsz, 3), device=device, tf32=tf32)

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
    """Runs steps and keeps what each gave, or the reason why it could not run.

    `steps`: those of an earlier run; what has a result there is not run again. `keep` is called
    with all of them after each step.
    """

    def __init__(self, steps: dict[str, Any], keep: Callable[[dict[str, Any]], object]) -> None:
        self.steps, self._keep = steps, keep

    def step(self, name: str, run: Callable[[], Any]) -> None:
        """Run the step. An `ArtoolkitError` is its reason, any other a bug."""
        if "result" in self.steps.get(name, {}):
            return
        try:
            self.steps[name] = {"result": run()}
        except ArtoolkitError as error:
            self.steps[name] = {"unavailable": str(error)}
        reason = self.steps[name].get("unavailable")
        click.echo(f"skip {name}: {reason}" if reason else f"ran  {name}")
        self._keep(self.steps)


def opener(arm: Arm, backend: str, device: str, *, cuda_graph: bool = False) -> Any:
    """Open one arm on a column of the table."""
    if backend == "torch":
        if arm.open_torch is None:
            raise BackendError("this bundle has no checkpoint for torch")
        return arm.open_torch(device)
    if backend == "onnxruntime":
        precision = arm.bundle.manifest.target.precision
        return open_onnxruntime(arm.bundle.model, device=device, precision=precision)
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
        plan=LatencySettings(**settings.latency),
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


def built(arm: Arm, backend: str) -> dict[str, Any]:
    """Build the arm's engine; its sidecar without what names this machine's folders."""
    options = options_for(arm.bundle.manifest.target, library=backend)
    sidecar = build_engine(arm.bundle, options).sidecar
    return sidecar.model_dump(mode="json", exclude={"trtexec", "metadata", "options"})


def plans(pair: Pair, capability: str) -> dict[str, Any]:
    """The RTX proof for one capability; needs no GPU."""
    manifest = pair[0].bundle.manifest
    with tempfile.TemporaryDirectory() as folder:
        found = compare_programs(
            *in_form(pair, Path(folder)),
            trained=manifest.trained,
            compute_capabilities=(capability,),
            precision=manifest.target.precision,
        )
    return asdict(in_words(found))


def in_form(pair: Pair, folder: Path) -> tuple[Path, ...]:
    """Both graphs in the form that the target's engines are built from, in `folder`."""
    files = tuple(folder / f"{arm}.onnx" for arm in SEEDS)
    for arm, file in zip(pair, files, strict=True):
        write_form(arm.bundle.model, arm.bundle.manifest.target.forms, file)
    return files


def controlled_pair(pair: Pair) -> dict[str, Any]:
    """TensorRT's engines from one timing cache, three builds an arm."""
    options = options_for(pair[0].bundle.manifest.target, library="tensorrt")
    with tempfile.TemporaryDirectory() as folder:
        files = in_form(pair, Path(folder))
        return asdict(compare_engines(*files, Path(folder), options, refit=True))


Step = tuple[str, Callable[[], Any]]


def steps_of(name: str, pair: Callable[[], Pair], settings: Settings, device: str) -> list[Step]:
    """Every step for one network in one precision; `pair` makes it when the first step runs."""
    steps: list[Step] = [
        (f"{name} rtx plans {one}", lambda one=one: plans(pair(), one))
        for one in settings.rtx_capabilities
    ]
    steps.append((f"{name} tensorrt controlled pair", lambda: controlled_pair(pair())))
    for backend in settings.backends:
        if not backend.startswith("tensorrt"):
            run = partial(_on_pair, latency, pair, backend, device, settings)
            steps.append((f"{name} {backend} {device} latency", run))
            continue
        steps += [
            (f"{name} {backend} engine {arm}", lambda i=i, b=backend: built(pair()[i], b))
            for i, arm in enumerate(SEEDS)
        ]
        for graph in settings.cuda_graph:
            form = f"{name} {backend}{' cuda graph' if graph else ''}"
            for what, measure in (("latency", latency), ("gpu time", by_events)):
                run = partial(
                    _on_pair, measure, pair, backend, "cuda:0", settings, cuda_graph=graph
                )
                steps.append((f"{form} {what}", run))
    return steps


def _on_pair(measure: Any, pair: Callable[[], Pair], *arguments: Any, **options: Any) -> Any:
    return measure(pair(), *arguments, **options)


@click.command()
@click.option("--suite", default=SUITE, type=click.Path(path_type=Path), show_default=True)
@click.option("--machine", default="workstation", show_default=True, help="Kind of machine.")
@click.option("--steps", "words", multiple=True, help="Only steps with these words in their name.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=RESULTS,
              help="Folder of the result file.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Name the steps; build and write nothing.")
def main(*, suite: Path, machine: str, words: tuple[str, ...], out: Path, dry_run: bool) -> None:
    """Run the suite and write its result file."""
    settings = read_settings(suite)
    gpu, reason = gpu_here()
    device = "cuda:0" if gpu else "cpu"
    with tempfile.TemporaryDirectory() as folder:
        steps = [
            step
            for network in settings.networks
            for precision in settings.precisions
            for step in steps_of(
                f"{network} {precision}",
                cache(partial(_pair, network, precision, settings, gpu, Path(folder))),
                settings,
                device,
            )
            if all(word in step[0] for word in words)
        ]
        if dry_run:
            click.echo("\n".join(name for name, _ in steps))
            return
        if gpu is None:
            raise SystemExit(f"error: this suite needs an NVIDIA GPU: {reason}")
        card = gpu.name.lower().replace(" ", "-")
        path = result_path("gpu", machine=machine, device=card, folder=out)
        values = json.loads(json.dumps(vars(settings)))

        def keep(found: dict[str, Any]) -> None:
            write_result(
                "gpu", machine=machine, device=card, settings=values,
                raw={"gpu": vars(gpu), "steps": found}, folder=out,
            )  # fmt: skip

        report = Report(_measured_before(path, values), keep)
        for name, run in steps:
            report.step(name, run)
    click.echo(path)


def _pair(network: str, precision: str, settings: Settings, gpu: Gpu | None, folder: Path) -> Pair:
    return make_pair(network, target_of(settings, precision, gpu), folder)


def _measured_before(path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Steps of an earlier run with the same settings."""
    if not path.is_file():
        return {}
    before = read_record(path, ResultFile)
    return dict(before.raw["steps"]) if before.settings == settings else {}


if __name__ == "__main__":
    main()
