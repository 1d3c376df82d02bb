"""`artoolkit compare`: the verdict of a candidate against a baseline."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from artoolkit.cli.options import (
    BackendChoice,
    cuda_memory_option,
    dataset_options,
    device_option,
    junit_option,
    latency_options,
    threads_option,
    track_option,
    verbose_option,
)
from artoolkit.cli.talk import json_option
from artoolkit.errors import UsageError
from artoolkit.words import QUESTIONS

# Of the root mean square of a layer's outputs; float32 against float32 stays far below.
LAYER_ERROR = 1e-3


@click.command()
@click.argument("baseline", type=click.Path(path_type=Path, exists=True))
@click.argument("candidate", type=click.Path(path_type=Path, exists=True), required=False)
@dataset_options()
@click.option("--split", default="val", show_default=True, help="Split for the accuracy check.")
@click.option("--backend", type=BackendChoice(), help="Default: the target's.")
@device_option(default=None)
@threads_option
@cuda_memory_option
@click.option("--margin", type=click.FloatRange(min=0, min_open=True),
              help="Latency margin in percent (default: the target's, 2); with bundles it "
              "needs --out, since theirs are fixed in advance.")  # fmt: skip
@latency_options
@click.option("--warmup-ms", type=click.FloatRange(min=0), default=200.0, show_default=True)
@click.option("--soak-s", type=click.FloatRange(min=0), default=0.0, show_default=True,
              help="Run so long before measuring, to measure a warm device.")  # fmt: skip
@click.option("--inputs", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help="Inputs of two .onnx files, by name (.npz); seeded ones otherwise.")  # fmt: skip
@click.option("--shape", "shapes", multiple=True, metavar="NAME=1x3x512x1024",
              help="Shape of an input that is open in two .onnx files.")  # fmt: skip
@click.option("--question", type=click.Choice(QUESTIONS), default="equal", show_default=True,
              help="equal: may it replace the baseline? precision: what did int8 or bf16 cost in "
              "accuracy, size and latency?")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False),
              help="Folder for the records (default: CANDIDATE/evidence).")  # fmt: skip
@click.option("--refit", is_flag=True, help="On tensorrt: also put the candidate's weights into "
              "the baseline's engine. A diagnostic, no verdict.")  # fmt: skip
@click.option("--layers", is_flag=True, help="Also name the layers whose outputs differ the most.")
@json_option
@junit_option
@track_option
@verbose_option
def command(
    *,
    baseline: Path,
    candidate: Path | None,
    margin: float | None,
    blocks: int,
    budget_s: float,
    until_decided: bool,
    warmup_ms: float,
    soak_s: float,
    inputs: Path | None,
    shapes: tuple[str, ...],
    refit: bool,
    layers: bool,
    as_json: bool,
    verbose: bool,
    junit: Path | None,
    track: tuple[str, ...],
    **measuring: Any,
) -> None:
    """Compare CANDIDATE with BASELINE: program, memory, latency, outputs and accuracy.

    Both are bundles, or both are .onnx files. One bundle alone is compared with the baseline that
    it carries. Exit code: 0 every required check passed, 1 one failed, 3 undecided.
    """
    from artoolkit import compare
    from artoolkit.cli.progress import progress_bar
    from artoolkit.cli.verdict_table import give_verdict
    from artoolkit.cost.latency_record import MOST_SECONDS, LatencySettings
    from artoolkit.trackers import tracking

    budget_s = MOST_SECONDS if until_decided else budget_s
    plan = LatencySettings(pairs=blocks, budget_s=budget_s, warmup_ms=warmup_ms, soak_s=soak_s)
    with tracking(track) as callbacks, progress_bar() as progress:
        verdict = compare(
            baseline,
            candidate,
            plan=plan,
            margin_percent=margin,
            inputs=inputs,
            shapes=dict(map(_shape, shapes)),
            refit=refit or None,
            progress=progress,
            callbacks=callbacks,
            **measuring,
        )
    title = f"{verdict.candidate.name} against {verdict.baseline.name}"
    give_verdict(verdict, title=title, verbose=verbose, as_json=as_json, junit=junit)
    if layers:
        _show_layers(baseline, candidate, inputs)
    sys.exit(verdict.exit_code)


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    """`image=1x3x512x1024` -> the name and the numbers."""
    name, _, sizes = text.rpartition("=")
    numbers = sizes.lower().replace(",", "x").split("x")
    if not name or not all(number.isdecimal() and int(number) for number in numbers):
        raise UsageError("--shape is not NAME=SIZES", got=repr(text), expected="image=1x3x512x1024")
    return name, tuple(map(int, numbers))


def _show_layers(baseline: Path, candidate: Path | None, inputs: Path | None) -> None:
    """Relative errors of the layers that both files name alike, on one batch of images."""
    from contextlib import closing

    from artoolkit.backends.onnxruntime.runner import open_onnxruntime
    from artoolkit.cost.opening import feeds_for, model_at, read_feeds
    from artoolkit.deploy.parity import first_difference, largest_errors, layer_errors
    from artoolkit.evidence.bundle import BASELINE, MODEL

    newer = candidate or baseline
    older = baseline if candidate else baseline / BASELINE
    models = [path if path.suffix == ".onnx" else path / MODEL for path in (older, newer)]
    with closing(open_onnxruntime(models[0])) as runner:
        fed = read_feeds(inputs, runner.spec) if inputs else feeds_for(model_at(newer), runner.spec)
        images = next(iter(fed.values())) if isinstance(fed, dict) else fed
    errors = layer_errors(models[0], models[1], images)
    first = first_difference(errors, relative=LAYER_ERROR)
    if first is None:
        click.echo(f"no layer differs by more than {LAYER_ERROR:g} of its size", err=True)
        return
    click.echo(f"first layer that differs: {first.layer} ({first.operator})", err=True)
    for error in largest_errors(errors):
        click.echo(f"  {error.relative:.3g}  {error.layer} ({error.operator})", err=True)
