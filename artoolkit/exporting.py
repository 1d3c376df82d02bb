"""`export`: a checkpoint to the bundle of one device and, with a baseline, to the verdict.

`deploy.export` writes the bundle and `checks` judges it; which images they are shown, and what the
trained network says beside the exported one, is decided here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from artoolkit.backends import backend_named
from artoolkit.backends.backend import Progress
from artoolkit.backends.runner import Runner
from artoolkit.backends.tensorrt.loader import build_engine, options_for
from artoolkit.checks.compare import compare
from artoolkit.checks.contest import Pair
from artoolkit.checks.outputs import OutputsMeasurement
from artoolkit.checks.registry import check_names
from artoolkit.cost.benchmark import benchmark
from artoolkit.cost.latency_record import LatencySettings
from artoolkit.cost.session_tuning import tuned_session
from artoolkit.data import DataSet, dataset_of, spread
from artoolkit.data.street.scene import street_scene
from artoolkit.deploy.export import export_bundle
from artoolkit.deploy.onnx import onnx_from_checkpoint
from artoolkit.deploy.parity import largest_errors, layer_errors
from artoolkit.deploy.quantize import FloatLayers
from artoolkit.deploy.trained import BOTH, LabelledImage, parity_of_export
from artoolkit.deploy.untrained import untrained_checkpoint
from artoolkit.errors import (
    ArtoolkitError,
    BackendError,
    CheckpointError,
    MissingLibraryError,
    UsageError,
)
from artoolkit.evaluation.predictor import NetworkPredictor
from artoolkit.evaluation.quality import QualityMeasurement, measure_quality
from artoolkit.evidence.bundle import Bundle, Manifest, open_bundle, require_free
from artoolkit.evidence.callback import Callback
from artoolkit.evidence.records import command_line
from artoolkit.evidence.verdict import Subject, Verdict
from artoolkit.networks.checkpoint import Checkpoint, is_checkpoint
from artoolkit.networks.loading import load
from artoolkit.spec import RequestedNetwork, SessionOptions, Target, problems
from artoolkit.targets import find_target
from artoolkit.words import (
    AUTO,
    LIBRARIES,
    CudaMemory,
    Head,
    InputLayout,
    LabelsDtype,
    Precision,
)

PARITY_IMAGES = 16


@dataclass(frozen=True)
class Exported:
    """The bundle that was written and, where it was given a baseline, the verdict over it."""

    bundle: Bundle
    verdict: Verdict | None = None


@dataclass(frozen=True, kw_only=True)
class Task:
    """One export: the source, the device, and the images that it is shown."""

    checkpoint: Checkpoint
    target: Target
    dataset: DataSet | None
    split: str = "val"
    progress: Progress = lambda what, share: None

    def images(self, count: int, split: str | None = None) -> list[LabelledImage]:
        """`count` images spread over a split; without a data set, generated street scenes."""
        data = self.dataset
        if data is None:
            size = self.target.imgsz
            return [LabelledImage(street_scene(seed, size)[0]) for seed in range(count)]
        return [
            LabelledImage(data.read_image(s), None if s.label is None else data.read_label(s))
            for s in spread(data.samples(split or self.split), count)
        ]


def export(
    checkpoint: Checkpoint | Path | str,
    *,
    out: Path | str,
    baseline: Checkpoint | Path | str | None = None,
    network: RequestedNetwork | str | None = None,
    dataset: DataSet | str | None = None,
    data_root: Path | str | None = None,
    classes: Path | str | None = None,
    split: str = "val",
    target: Target | Path | str = "cpu",
    imgsz: tuple[int, int] | None = None,
    precision: Precision | None = None,
    input_layout: InputLayout | None = None,
    labels_dtype: LabelsDtype | None = None,
    head: Head | None = None,
    batch: int | None = None,
    threads: int | None = None,
    cuda_memory: CudaMemory | None = None,
    tune_session: bool = False,
    golden: int = 4,
    calibration: int = 64,
    float_layers: FloatLayers = AUTO,
    plan: LatencySettings | None = None,
    overwrite: bool = False,
    progress: Progress = lambda what, share: None,
    callbacks: Sequence[Callback] = (),
) -> Exported:
    """Write the bundle of `checkpoint` to the folder `out`; with `baseline`, judge it too.

    checkpoint, baseline: artoolkit's own, or weights of others: of `network`, and of the same
    network as the checkpoint. dataset, data_root, classes, split: the images that it is shown and
    judged on; without them generated streets, and no accuracy.
    target: a name (`targets.list_targets`), a TOML file or a `Target`; imgsz (height, width),
    precision, input_layout (its `layout`), labels_dtype, head, batch, threads and cuda_memory
    replace its values. tune_session: measure ONNX
    Runtime's options on this CPU. golden: images kept in the bundle; calibration: training images
    for int8, float_layers: convolutions that it leaves in float. plan: how latency is measured.
    progress is told what is done and which share of it, callbacks the verdict.

    Raises `CheckpointError` where the two are not the same network, `UsageError` for options that
    the target does not take and where `out` is taken, `ExportError`, `StorageError`.

    >>> import artoolkit
    >>> made = artoolkit.export("runs/ar/model.safetensors", out="new-bundle", imgsz=(64, 128))
    >>> made.bundle.model.as_posix(), made.verdict
    ('new-bundle/model.onnx', None)
    """
    require_free(Path(out), overwrite=overwrite)
    data = None if dataset is None else dataset_of(dataset, data_root, classes=classes)
    candidate = load(checkpoint, network=network, labels=data.labels if data else None)
    reference = None if baseline is None else _baseline_of(candidate, baseline)
    device = find_target(
        target, imgsz=imgsz or candidate.meta.imgsz, precision=precision, layout=input_layout,
        labels_dtype=labels_dtype, head=head, batch=batch, threads=threads, cuda_memory=cuda_memory,
    )  # fmt: skip
    _check_options(device, float_layers=float_layers, tune_session=tune_session)
    if float_layers == AUTO and candidate.meta.provenance.get("untrained") is True:
        float_layers = ()  # in random weights there is nothing to find
    task = Task(
        checkpoint=candidate, target=device, dataset=data, split=split, progress=progress
    )  # fmt: skip

    def tune(model: Path, images: NDArray[np.uint8]) -> tuple[SessionOptions, dict[str, Any]]:
        found = tuned_session(model, images, threads=device.threads, progress=progress)
        return found.chosen, found.model_dump(mode="json")

    calibrates = device.precision == "int8" and data is not None
    progress("exporting", 0.0)
    bundle = export_bundle(
        candidate,
        device,
        Path(out),
        images=[shown.image for shown in task.images(golden)],
        baseline=reference,
        calibration_images=[s.image for s in task.images(calibration, "train")]
        if calibrates
        else (),
        float_layers=float_layers,
        tune=tune if tune_session else None,
        progress=progress,
        overwrite=overwrite,
        provenance={"command": list(command_line())},
    )
    if reference is None:
        return Exported(bundle)
    verdict = judge(task, bundle, plan or LatencySettings())
    for one in callbacks:
        one.on_verdict(verdict)
    return Exported(bundle, verdict)


def _baseline_of(candidate: Checkpoint, source: Checkpoint | Path | str) -> Checkpoint:
    """The baseline; weights of others are brought into the candidate's network.

    Raises `CheckpointError` where it is not the same network for the same classes.
    """
    ours, whose = candidate.meta, None
    if not isinstance(source, Checkpoint) and not is_checkpoint(source):
        whose = RequestedNetwork(name=ours.network, layout=ours.layout, options=ours.options)
    baseline = load(source, network=whose, labels=ours.labels)
    for what in ("network", "layout", "num_classes", "options", "preprocess"):
        if getattr(ours, what) != getattr(baseline.meta, what):
            raise CheckpointError(
                f"checkpoint and baseline differ in {what.replace('_', ' ')}",
                got=getattr(ours, what),
                expected=getattr(baseline.meta, what),
                hint="Fine-tune from the baseline that you compare with.",
            )
    return baseline


def _check_options(target: Target, *, float_layers: FloatLayers, tune_session: bool) -> None:
    check_names(target)
    if float_layers not in (AUTO, ()) and target.precision != "int8":
        raise UsageError(
            "--float-layers NAME,... is for int8",
            got=target.precision,
            hint="Add --precision int8, or leave it out.",
        )
    takes_session = backend_named(target.backend).takes_session
    if tune_session and not (takes_session and target.device == "cpu"):
        raise UsageError(
            "--tune-session is for ONNX Runtime on a CPU",
            got=f"{target.backend} on {target.device}",
            hint="Leave it out, or choose --target cpu.",
        )


def judge(task: Task, bundle: Bundle, plan: LatencySettings) -> Verdict:
    """The verdict of the bundle against the baseline inside it, written into its evidence."""
    task.progress("outputs", 0.0)
    return compare(
        bundle,
        dataset=task.dataset,
        split=task.split,
        plan=plan,
        outputs=measured_outputs(task, bundle),
        trained=trained_quality(task, bundle),
        progress=task.progress,
    )


def measured_outputs(task: Task, bundle: Bundle) -> OutputsMeasurement | None:
    """Scores and labels of the exported network against the trained one, on images of the split.

    In ONNX Runtime, which computes what the graph says; bf16 is in no graph but in how a backend
    compiles it, so there on the target's own. None where that cannot run here: the check then
    says so by itself.
    """
    target, margins = task.target, task.target.margins
    runner: Runner | None = None
    if "bf16" in (target.precision, target.float_precision):
        backend = backend_named(target.backend)
        try:
            runner = backend.open(bundle, device=backend.device_for(bundle), outputs=BOTH)
        except (BackendError, MissingLibraryError):
            return None
    parity = parity_of_export(
        task.checkpoint, bundle.model, target, task.images(PARITY_IMAGES), runner
    )
    holds = parity.holds(
        atol=margins.scores_allowed(target.precision, parity.scores_spread),
        agreement=margins.label_agreement[target.precision],
    )
    pair = Pair.of(bundle.baseline or bundle, bundle)
    return pair.record(
        OutputsMeasurement,
        against="trained network",
        **asdict(parity),
        layers=None if holds else worst_layers(task, bundle),
    )


def worst_layers(task: Task, bundle: Bundle) -> tuple[str, ...]:
    """The layers that differ the most from the same graph in float32, each with its error."""
    exact = task.target.model_copy(update={"precision": "fp32"})
    images = bundle.golden()["images"][: task.target.batch]
    with tempfile.TemporaryDirectory(prefix="artoolkit-layers-") as folder:
        reference = onnx_from_checkpoint(task.checkpoint, exact, Path(folder) / "fp32.onnx")
        errors = largest_errors(layer_errors(reference.path, bundle.model, images))
    differing = (one for one in errors if one.relative)
    return tuple(f"{one.layer or one.operator} {one.relative:.2g}" for one in differing)


def trained_quality(task: Task, bundle: Bundle) -> QualityMeasurement | None:
    """The quality of the candidate before export; None without a data set."""
    if task.dataset is None:
        return None
    checkpoint = bundle.manifest.provenance["checkpoint"] or ""
    with NetworkPredictor(
        task.checkpoint.network(),
        task.checkpoint.meta.labels,
        input_hw=task.target.imgsz,
        labels_hw=task.target.labels_hw,
    ) as predictor:
        return measure_quality(
            predictor,
            task.dataset,
            task.split,
            subject=Subject(name="trained", sha256=checkpoint),
            progress=lambda done, total: task.progress("mIoU before export", done / total),
        )


def benchmark_grid(
    path: Path,
    precisions: Sequence[str],
    sizes: Sequence[tuple[int, int]],
    *,
    progress: Progress = lambda what, share: None,
    **how: Any,
) -> list[dict[str, Any]]:
    """Latency of the network of the bundle at `path` in every precision at every size: rows.

    With random weights, which cost the same; engines are built where the target needs them. Empty:
    the bundle's own precision or size. `how`: the options of `cost.benchmark.benchmark`. A
    combination that this machine cannot run is a row with the reason.
    """
    manifest = open_bundle(path).manifest
    rows: list[dict[str, Any]] = []
    own = manifest.target.model_copy(update={"output_size": None})
    cases = [(s, p) for s in sizes or [own.imgsz] for p in precisions or [own.precision]]
    for index, (size, precision) in enumerate(cases):
        words = precision, f"{size[0]} x {size[1]}"
        progress(" ".join(words), index / len(cases))
        row: dict[str, Any] = dict(zip(("precision", "imgsz"), words, strict=True))
        try:
            target = find_target(own, imgsz=size, precision=precision)
            row |= _random_latency(manifest, target, how)
        except ArtoolkitError as error:
            row["unavailable"] = str(error)
        except ValidationError as error:
            row["unavailable"] = problems(error)
        rows.append(row)
    return rows


def _random_latency(manifest: Manifest, target: Target, how: dict[str, Any]) -> dict[str, Any]:
    random = untrained_checkpoint(
        manifest.network, len(manifest.labels.names), labels=manifest.labels, imgsz=target.imgsz
    )
    with tempfile.TemporaryDirectory(prefix="artoolkit-grid-") as folder:
        images = [street_scene(0, target.imgsz)[0]]
        bundle = export_bundle(
            random, target, Path(folder) / "bundle", images=images, float_layers=()
        )
        if target.backend in LIBRARIES:
            build_engine(bundle, options_for(target))
        record = benchmark(bundle.path, **how)
    found = {"median ms": round(record.percentile_ms(50), 3)}
    found |= {f"p{p:g} ms": round(record.percentile_ms(p), 3) for p in record.plan.percentiles}
    stages = {key: record.stage_ms(key) for key in ("h2dMs", "computeMs", "d2hMs")}
    found |= {key: round(ms, 3) for key, ms in stages.items() if ms is not None}
    return found | (record.components.model_dump() if record.components else {})
