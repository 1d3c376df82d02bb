"""`artoolkit export`: Checkpoint -> Bundle, and against a baseline the verdict."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from artoolkit.cli.names import NETWORK, TARGET
from artoolkit.cli.network_options import network_options, requested_network
from artoolkit.cli.options import (
    cuda_memory_option,
    dataset_options,
    imgsz_option,
    junit_option,
    latency_options,
    out_option,
    track_option,
    verbose_option,
)
from artoolkit.cli.talk import json_option, tell
from artoolkit.cli.triton_format import serve
from artoolkit.errors import UsageError
from artoolkit.words import AUTO, INPUT_LAYOUTS, LABELS_DTYPES, PRECISIONS

if TYPE_CHECKING:
    from artoolkit.networks.checkpoint import Checkpoint


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path), required=False)
@click.option("--baseline", type=click.Path(path_type=Path), help="Checkpoint to compare with.")
@click.option("--untrained", type=NETWORK, metavar="NETWORK",
              help="Export NETWORK with random weights instead.")  # fmt: skip
@click.option("--num-classes", type=click.IntRange(1, 254), help="Classes, with --untrained.")
@network_options()
@dataset_options()
@click.option("--split", default="val", show_default=True, help="Split for the accuracy check.")
@click.option("--target", type=TARGET, metavar="NAME|PATH", default="cpu", show_default=True,
              help="Device: a name (artoolkit targets list) or a TOML file.")  # fmt: skip
@imgsz_option(help_text="Input size: height width (default: the target's).")
@click.option("--precision", type=click.Choice(PRECISIONS), help="Default: the target's.")
@click.option("--half", "precision", flag_value="fp16", help="The same as --precision fp16.")
@click.option("--int8", "precision", flag_value="int8", help="The same as --precision int8.")
@click.option("--input-layout", type=click.Choice(INPUT_LAYOUTS),
              help="Camera pixels, or the same as float32 N x 3 x H x W (DeepStream).  "
              "[default: the target's]")  # fmt: skip
@click.option("--labels-dtype", type=click.Choice(LABELS_DTYPES),
              help="int32 for Isaac ROS.  [default: the target's]")  # fmt: skip
@click.option(
    "--batch",
    type=click.IntRange(min=1),
    help="Batch size of the exported graph (default: from the target).",
)
@click.option("--threads", type=click.IntRange(min=1), help="Threads of ONNX Runtime.")
@cuda_memory_option
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
@latency_options
@click.option("--format", "form", default="bundle", show_default=True,
              type=click.Choice(("bundle", "triton", "deepstream")),
              help="triton, deepstream: what these load, at --out; then CHECKPOINT may be a "
              "bundle, which is served with its engine.")  # fmt: skip
@click.option("--instances", type=click.IntRange(min=1), default=1, show_default=True,
              help="Triton: copies of the model that run at once.")  # fmt: skip
@click.option("--warmup", type=click.IntRange(min=0), default=3, show_default=True,
              help="Triton: inferences before the model counts as ready.")  # fmt: skip
@click.option("--engine", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help="Engine of the bundle that is served, where it has several.")  # fmt: skip
@out_option(help_text="Folder of the bundle.")
@click.option("--overwrite", is_flag=True, help="Replace what is at --out.")
@json_option
@junit_option
@track_option
@verbose_option
def command(
    *,
    checkpoint: Path | None,
    untrained: str | None,
    num_classes: int | None,
    float_layers: str,
    blocks: int,
    budget_s: float,
    until_decided: bool,
    form: str,
    engine: Path | None,
    instances: int,
    warmup: int,
    verbose: bool,
    as_json: bool,
    junit: Path | None,
    **options: Any,
) -> None:
    """Export CHECKPOINT to a bundle; with --baseline, prove that it costs the same and is as good.

    The bundle holds the graph (uint8 images in, uint8 labels out), golden images and the manifest
    that seals them, and with --baseline the baseline's bundle and the evidence. Exit code with
    --baseline: 0 every required check passed, 1 one failed, 3 undecided.
    """
    from artoolkit.cli.progress import progress_bar
    from artoolkit.cli.verdict_table import give_verdict
    from artoolkit.evidence.bundle import open_bundle
    from artoolkit.trackers import tracking

    names = options.pop("track")
    out, baseline, overwrite = (options[name] for name in ("out", "baseline", "overwrite"))
    check_form(form, baseline, engine)
    served = {"form": form, "overwrite": overwrite, "instances": instances, "warmup": warmup}
    served["as_json"] = as_json
    if form != "bundle" and checkpoint is not None and checkpoint.is_dir():
        serve(open_bundle(checkpoint), out, engine=engine, **served)
        return
    from artoolkit import export
    from artoolkit.cost.latency_record import MOST_SECONDS, LatencySettings

    source = source_of(checkpoint, untrained, num_classes, options)
    options["float_layers"] = asked_layers(float_layers)
    if form != "bundle":
        with tempfile.TemporaryDirectory(prefix="artoolkit-triton-") as scratch:
            with progress_bar() as report:
                options |= {"out": Path(scratch) / "bundle", "overwrite": False}
                made = export(source, **options, progress=report)
            serve(made.bundle, out, engine=None, **served)
        return
    with tracking(names) as callbacks, progress_bar() as report:
        budget_s = MOST_SECONDS if until_decided else budget_s
        plan = LatencySettings(pairs=blocks, budget_s=budget_s)
        made = export(source, **options, plan=plan, progress=report, callbacks=callbacks)
    if made.verdict is None:
        sha256 = made.bundle.manifest.sha256
        tell({"bundle": out, "sha256": sha256}, f"{out}  sha256 {sha256}", as_json=as_json)
        return
    title = f"{out} against {baseline}"
    give_verdict(made.verdict, title=title, verbose=verbose, as_json=as_json, junit=junit)
    if not as_json:
        click.echo(f"evidence: {made.bundle.proofs[0]}")
    sys.exit(made.verdict.exit_code)


def check_form(form: str, baseline: Path | None, engine: Path | None) -> None:
    """Raises `UsageError` for options that the form of the export does not take."""
    if form != "bundle" and baseline is not None:
        raise UsageError(
            f"--format {form} judges nothing",
            hint="Export with --baseline to a bundle first, then give that bundle.",
        )
    if form == "bundle" and engine is not None:
        raise UsageError("--engine goes with --format triton")


def source_of(
    checkpoint: Path | None, untrained: str | None, num_classes: int | None, options: dict[str, Any]
) -> Checkpoint | Path:
    """Source of the export: a checkpoint's file, or random weights of the network `untrained`.

    The options of the network are taken out of `options`, and go back where the file needs them.
    """
    requested = requested_network(options)
    if untrained is None:
        if checkpoint is None:
            raise UsageError("give either a checkpoint or --untrained NETWORK")
        if num_classes is not None:
            raise UsageError("--num-classes goes with --untrained")
        options["network"] = requested
        return checkpoint
    if checkpoint is not None or options["baseline"] is not None:
        raise UsageError("--untrained takes no checkpoint and no --baseline")
    if num_classes is None:
        raise UsageError("--untrained needs --num-classes")
    if requested.name is not None:
        raise UsageError("--untrained names the network: leave --network out", got=requested.name)
    from artoolkit.deploy.untrained import untrained_checkpoint
    from artoolkit.targets import find_target

    return untrained_checkpoint(
        untrained,
        num_classes,
        layout=requested.layout,
        options=requested.options,
        imgsz=find_target(options["target"], imgsz=options["imgsz"]).imgsz,
    )


def asked_layers(text: str) -> tuple[str, ...] | str:
    """`auto`, or the layers of `none` and `a,b`."""
    if text == AUTO:
        return text
    return tuple(name.strip() for name in text.split(",") if name.strip() and text != "none")
