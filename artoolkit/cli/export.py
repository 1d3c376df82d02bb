"""`artoolkit export`: Checkpoint -> Bundle, and against a baseline the verdict."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from artoolkit.cli.network_options import network_options, requested_network
from artoolkit.cli.options import dataset_options, imgsz_option, open_data, out_option
from artoolkit.cli.triton_format import serve
from artoolkit.errors import CheckpointError, UsageError
from artoolkit.words import HEADS, PRECISIONS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from artoolkit.cli.progress import Report
    from artoolkit.data import DataSet
    from artoolkit.deploy.trained import Picture
    from artoolkit.evidence.bundle import Bundle
    from artoolkit.evidence.verdict import Check, Verdict
    from artoolkit.networks.checkpoint import Checkpoint
    from artoolkit.spec import RequestedNetwork, SessionOptions, Target

PARITY_IMAGES = 16


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is exported, for which device, and which pictures it is shown on."""

    checkpoint: Checkpoint
    baseline: Checkpoint | None
    target: Target
    dataset: DataSet | None
    split: str
    golden: int
    calibration: int
    float_layers: tuple[str, ...] | Literal["auto"]
    tune_session: bool = False


def pictures_of(dataset: DataSet | None, split: str, count: int, target: Target) -> list[Picture]:
    """`count` pictures spread over a split; without a data set, generated street scenes."""
    from artoolkit.deploy.trained import Picture

    if dataset is None:
        from artoolkit.data.street.scene import street_scene

        return [Picture(street_scene(seed, target.imgsz)[0]) for seed in range(count)]
    from artoolkit.data import spread

    return [
        Picture(dataset.read_image(s), None if s.label is None else dataset.read_label(s))
        for s in spread(dataset.samples(split), count)
    ]


def check_pair(checkpoint: Checkpoint, baseline: Checkpoint) -> None:
    """Raises `CheckpointError` where the two are not the same network for the same classes."""
    ours, theirs = checkpoint.meta, baseline.meta
    for what in ("network", "layout", "num_classes", "options", "preprocess"):
        if getattr(ours, what) != getattr(theirs, what):
            raise CheckpointError(
                f"checkpoint and baseline differ in {what.replace('_', ' ')}",
                got=getattr(ours, what),
                expected=getattr(theirs, what),
                hint="Fine-tune from the baseline that you compare with.",
            )


def write(job: Job, out: Path, *, overwrite: bool, report: Report) -> Bundle:
    """The bundle at `out`, its baseline inside."""
    from artoolkit.cost.session_tuning import tuned_session
    from artoolkit.deploy.export import export_bundle
    from artoolkit.evidence.records import command_line

    def tune(model: Path, images: NDArray[np.uint8]) -> tuple[SessionOptions, dict[str, Any]]:
        found = tuned_session(model, images, threads=job.target.threads, progress=report)
        return found.chosen, found.model_dump(mode="json")

    golden = pictures_of(job.dataset, job.split, job.golden, job.target)
    calibration: list[Picture] = []
    if job.target.precision == "int8" and job.dataset is not None:
        calibration = pictures_of(job.dataset, "train", job.calibration, job.target)
    return export_bundle(
        job.checkpoint,
        job.target,
        out,
        images=[picture.image for picture in golden],
        baseline=job.baseline,
        calibration_images=[picture.image for picture in calibration],
        float_layers=job.float_layers,
        tune=tune if job.tune_session else None,
        progress=report,
        overwrite=overwrite,
        provenance={"command": list(command_line())},
    )


def outputs_check(job: Job, bundle: Bundle) -> Check:
    """Is the exported network the trained one? Scores and labels on pictures of the split."""
    from artoolkit.deploy.trained import parity_of_export
    from artoolkit.evidence.verdict import Check

    target, margins = job.target, job.target.margins
    pictures = pictures_of(job.dataset, job.split, PARITY_IMAGES, target)
    parity = parity_of_export(job.checkpoint, bundle.model, target, pictures)
    atol, least = (m[target.precision] for m in (margins.scores_atol, margins.label_agreement))
    holds = parity.holds(atol=atol, agreement=least)
    return Check(
        name="outputs",
        result="PASS" if holds else "FAIL",
        summary=f"{100 * parity.agreement:.4f} % of the labelled pixels of {parity.images} images "
        f"agree with the trained network (at least {100 * least:g} % needed), scores differ by at "
        f"most {parity.scores_max_abs:.2g} ({atol:g} allowed)"
        + ("" if holds else worst_layers(job, bundle)),
        numbers={
            "agreement": parity.agreement,
            "scores_max_abs": parity.scores_max_abs,
            "scores_max_rel": parity.scores_max_rel,
            "images": parity.images,
            "pixels": parity.pixels,
        },
    )


def worst_layers(job: Job, bundle: Bundle) -> str:
    """The layers that differ the most from the same graph in float32, as the end of a sentence."""
    from artoolkit.deploy.onnx import onnx_from_checkpoint
    from artoolkit.deploy.parity import largest_errors, layer_errors

    exact = job.target.model_copy(update={"precision": "fp32"})
    images = bundle.golden()["images"][: job.target.batch]
    with tempfile.TemporaryDirectory(prefix="artoolkit-layers-") as folder:
        reference = onnx_from_checkpoint(job.checkpoint, exact, Path(folder) / "fp32.onnx")
        errors = largest_errors(layer_errors(reference.path, bundle.model, images))
    found = [f"{one.layer or one.operator} {one.relative:.2g}" for one in errors if one.relative]
    if not found:
        return "; every layer computes what it does in float32"
    return f"; largest relative errors against float32: {', '.join(found)}"


def trained_miou(job: Job, report: Report) -> float | None:
    """mIoU in percent of the candidate before export; None without a data set."""
    if job.dataset is None:
        return None
    from artoolkit.deploy.trained import open_trained
    from artoolkit.evaluation.quality import measure_quality, runner_predictor
    from artoolkit.evidence.verdict import Subject

    with open_trained(job.checkpoint, job.target) as runner:
        measured = measure_quality(
            runner_predictor(runner),
            job.dataset,
            job.split,
            subject=Subject(name="trained", sha256=""),
            labels=job.checkpoint.meta.labels,
            predictor=runner.spec,
            batch=job.target.batch,
            progress=lambda done, total: report("mIoU before export", done / total),
        )
    return measured.metrics["mIoU"]


def judge(job: Job, bundle: Bundle, report: Report, **plan: Any) -> Verdict:
    """The verdict of the bundle against the baseline inside it, written into its evidence."""
    from artoolkit.checks.compare import Settings, compare_bundles
    from artoolkit.cost.latency_record import LatencyPlan

    assert bundle.baseline is not None, "only called with a baseline"
    report("outputs", 0.0)
    settings = Settings(
        dataset=job.dataset,
        split=job.split,
        plan=LatencyPlan(**plan),
        outputs=outputs_check(job, bundle),
        trained_miou=trained_miou(job, report),
        progress=report,
    )
    return compare_bundles(bundle, bundle.baseline, settings)


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path), required=False)
@click.option("--baseline", type=click.Path(path_type=Path), help="Checkpoint to compare with.")
@click.option("--untrained", metavar="NETWORK", help="Export NETWORK with random weights instead.")
@click.option("--num-classes", type=click.IntRange(1, 254), help="Classes, with --untrained.")
@network_options()
@dataset_options()
@click.option("--split", default="val", show_default=True, help="Split that is judged on.")
@click.option("--target", "target_name", default="cpu", show_default=True,
              help="Device: a name (see export/targets) or a TOML file.")  # fmt: skip
@imgsz_option(help_text="Input size: height width (default: the target's).")
@click.option("--precision", type=click.Choice(PRECISIONS), help="Default: the target's.")
@click.option("--half", "precision", flag_value="fp16", help="The same as --precision fp16.")
@click.option("--int8", "precision", flag_value="int8", help="The same as --precision int8.")
@click.option("--head", type=click.Choice(HEADS),
              help="Default: the target's. The time of sparse depends on the image.")  # fmt: skip
@click.option("--batch", type=click.IntRange(min=1), help="Images a call (default: the target's).")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of ONNX Runtime.")
@click.option("--tune-session", is_flag=True,
              help="Measure ONNX Runtime's threads, spinning and memory options on this CPU and "
              "keep the fastest in the bundle.")  # fmt: skip
@click.option("--golden", type=click.IntRange(min=1), default=4, show_default=True,
              help="Images kept in the bundle, to verify it anywhere.")  # fmt: skip
@click.option("--calibration", type=click.IntRange(min=1), default=64, show_default=True,
              help="Training images that calibrate int8.")  # fmt: skip
@click.option("--float-layers", metavar="auto|none|a,b", default="auto", show_default=True,
              help="Convolutions that int8 leaves in float; auto: found by measuring on the "
              "baseline, as few as the target's label agreement needs.")  # fmt: skip
@click.option("--blocks", type=click.IntRange(min=2), default=20, show_default=True,
              help="Pairs of latency blocks, at least.")  # fmt: skip
@click.option("--budget-s", type=click.FloatRange(min=1), default=45.0, show_default=True,
              help="Seconds for all latency blocks.")  # fmt: skip
@click.option("--format", "form", type=click.Choice(("bundle", "triton")), default="bundle",
              show_default=True, help="triton: a model repository at --out; then CHECKPOINT may be "
              "a bundle, which is served with its engine.")  # fmt: skip
@click.option("--engine", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help="Engine of the bundle that Triton serves, where it has several.")  # fmt: skip
@out_option(help_text="Folder of the bundle.")
@click.option("--overwrite", is_flag=True, help="Replace what is at --out.")
def command(
    *,
    checkpoint: Path | None,
    baseline: Path | None,
    untrained: str | None,
    num_classes: int | None,
    dataset: str | None,
    data_root: Path | None,
    classes: Path | None,
    split: str,
    target_name: str,
    golden: int,
    calibration: int,
    float_layers: str,
    tune_session: bool,
    blocks: int,
    budget_s: float,
    form: str,
    engine: Path | None,
    out: Path,
    overwrite: bool,
    **changes: Any,
) -> None:
    """Export CHECKPOINT to a bundle; with --baseline, prove that it costs the same and is as good.

    The bundle holds the graph (uint8 images in, uint8 labels out), golden images and the manifest
    that seals them, and with --baseline the baseline's bundle and the evidence. Exit code with
    --baseline: 0 every required check passed, 1 one failed, 3 undecided.
    """
    from artoolkit.cli.progress import progress_bar
    from artoolkit.cli.verdict_table import show_checks
    from artoolkit.evidence.bundle import open_bundle

    check_form(form, baseline, engine)
    if form == "triton" and checkpoint is not None and checkpoint.is_dir():
        serve(open_bundle(checkpoint), out, engine=engine, overwrite=overwrite)
        return
    job = asked_job(
        checkpoint, baseline, untrained, num_classes,
        dataset=None if dataset is None else open_data(dataset, data_root, classes),
        split=split, target_name=target_name, golden=golden, calibration=calibration,
        float_layers=float_layers, tune_session=tune_session, changes=changes,
    )  # fmt: skip
    if form == "triton":
        with tempfile.TemporaryDirectory(prefix="artoolkit-triton-") as scratch:
            with progress_bar() as report:
                made = write(job, Path(scratch) / "bundle", overwrite=False, report=report)
            serve(made, out, engine=None, overwrite=overwrite)
        return
    with progress_bar() as report:
        report("exporting", 0.0)
        bundle = write(job, out, overwrite=overwrite, report=report)
        if job.baseline is None:
            click.echo(f"{out}  sha256 {bundle.manifest.sha256}")
            return
        verdict = judge(job, bundle, report, pairs=blocks, budget_s=budget_s)
    title = f"{out} against {baseline}"
    show_checks(verdict.checks, title=title, sentence=f"{verdict.result}: {verdict.meaning}")
    click.echo(f"evidence: {bundle.evidence}")
    sys.exit(verdict.exit_code)


def check_form(form: str, baseline: Path | None, engine: Path | None) -> None:
    """Raises `UsageError` for options that the form of the export does not take."""
    if form == "triton" and baseline is not None:
        raise UsageError(
            "--format triton judges nothing",
            hint="Export with --baseline to a bundle first, then give that bundle.",
        )
    if form != "triton" and engine is not None:
        raise UsageError("--engine goes with --format triton")


def asked_job(
    checkpoint: Path | None, baseline: Path | None, untrained: str | None, num_classes: int | None,
    *, dataset: DataSet | None, split: str, target_name: str, golden: int, calibration: int,
    float_layers: str, tune_session: bool, changes: dict[str, Any],
) -> Job:  # fmt: skip
    """What the options amount to; `changes` are those of the network and of the target."""
    from artoolkit.optional import require
    from artoolkit.targets import find_target

    require("torch", "exporting a network")
    require("onnx", "exporting a network")
    asked = requested_network(changes)
    if untrained is not None:
        if checkpoint is not None or baseline is not None:
            raise UsageError("--untrained takes no checkpoint and no --baseline")
        candidate, reference = _untrained(untrained, num_classes, asked), None
    else:
        candidate, reference = _trained(checkpoint, baseline, num_classes, asked, dataset)
    changes["imgsz"] = changes["imgsz"] or candidate.meta.imgsz
    target = find_target(target_name, **changes)
    if float_layers not in ("auto", "none") and target.precision != "int8":
        raise UsageError(
            "--float-layers NAME,... is for int8",
            got=target.precision,
            hint="Add --precision int8, or leave it out.",
        )
    if tune_session and (target.backend, target.device) != ("onnxruntime", "cpu"):
        raise UsageError(
            "--tune-session is for ONNX Runtime on a CPU",
            got=f"{target.backend} on {target.device}",
            hint="Leave it out, or choose --target cpu.",
        )
    return Job(
        checkpoint=candidate,
        baseline=reference,
        target=target,
        dataset=dataset,
        split=split,
        golden=golden,
        calibration=calibration,
        float_layers=asked_layers(float_layers, is_trained=untrained is None),
        tune_session=tune_session,
    )


def asked_layers(text: str, *, is_trained: bool) -> tuple[str, ...] | Literal["auto"]:
    """`auto`, or the layers of `none` and `a,b`. In random weights there is nothing to find."""
    if text == "auto" and is_trained:
        return "auto"
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    return () if text in ("auto", "none") else names


def _trained(
    checkpoint: Path | None, baseline: Path | None, num_classes: int | None,
    asked: RequestedNetwork, data: DataSet | None,
) -> tuple[Checkpoint, Checkpoint | None]:  # fmt: skip
    """What is exported and its baseline, which may be weights of others for the same network."""
    if checkpoint is None:
        raise UsageError("give either a checkpoint or --untrained NETWORK")
    if num_classes is not None:
        raise UsageError("--num-classes goes with --untrained")
    from artoolkit.networks.checkpoint import is_checkpoint
    from artoolkit.networks.loading import load
    from artoolkit.spec import RequestedNetwork

    candidate = load(checkpoint, network=asked, labels=data.labels if data else None)
    if baseline is None:
        return candidate, None
    # A baseline may be weights of others, brought into the candidate's network.
    meta = candidate.meta
    same = (
        None
        if is_checkpoint(baseline)
        else RequestedNetwork(name=meta.network, layout=meta.layout, options=meta.options)
    )
    reference = load(baseline, network=same, labels=meta.labels)
    check_pair(candidate, reference)
    return candidate, reference


def _untrained(network: str, num_classes: int | None, asked: RequestedNetwork) -> Checkpoint:
    if num_classes is None:
        raise UsageError("--untrained needs --num-classes")
    if asked.name is not None:
        raise UsageError("--untrained names the network: leave --network out", got=asked.name)
    from artoolkit.deploy.untrained import untrained_checkpoint

    return untrained_checkpoint(network, num_classes, layout=asked.layout, options=asked.options)
