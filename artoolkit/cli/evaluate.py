"""`artoolkit evaluate`: mIoU of a checkpoint or bundle on a split of a data set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from artoolkit.cli.options import (
    BACKENDS,
    CommaList,
    dataset_options,
    device_option,
    imgsz_option,
    open_data,
)
from artoolkit.errors import UsageError

if TYPE_CHECKING:
    from artoolkit.cli.progress import Report
    from artoolkit.data import DataSet
    from artoolkit.measure.quality import QualityMeasurement


@click.command()
@click.argument("model", type=click.Path(path_type=Path, exists=True))
@dataset_options(required=True)
@click.option("--split", default="val", show_default=True)
@click.option(
    "--backend",
    type=click.Choice(BACKENDS),
    help="Default: torch for a checkpoint, the target's for a bundle.",
)
@device_option()
@click.option("--threads", type=click.IntRange(min=1), help="Threads of one operator on a CPU.")
@imgsz_option(help_text="Network input of a checkpoint: height width (default: the image's own).")
@click.option(
    "--scales",
    type=CommaList(float),
    default="1",
    show_default=True,
    help="Scales to average over (checkpoints only).",
)
@click.option("--flip", is_flag=True, help="Average with the mirrored image (checkpoints only).")
@click.option("--json", "as_json", is_flag=True, help="Print the metrics as JSON.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the measurement here, with every confusion matrix.",
)
def command(
    *,
    model: Path,
    dataset: str,
    data_root: Path | None,
    classes: Path | None,
    split: str,
    backend: str | None,
    device: str,
    threads: int | None,
    imgsz: tuple[int, int] | None,
    scales: tuple[float, ...],
    flip: bool,
    as_json: bool,
    out: Path | None,
) -> None:
    """mIoU of MODEL (a checkpoint or a bundle) on a split of a data set, at the labels' size.

    IoU comes from the sum of the images' confusion matrices, as cityscapesScripts takes it: void
    is left out, and so is a class that is neither labelled nor predicted.
    """
    from artoolkit.cli.progress import progress_bar

    data = open_data(dataset, data_root, classes)
    with progress_bar() as progress:
        if model.is_dir():
            if scales != (1.0,) or flip:
                raise UsageError(
                    "a bundle has one scale", hint="--scales and --flip need its checkpoint."
                )
            record = _bundle(
                model, data, split, backend=backend, device=device, threads=threads,
                imgsz=imgsz, progress=progress,
            )  # fmt: skip
        else:
            if backend not in (None, "torch"):
                raise UsageError(
                    f"a checkpoint runs on torch, not on {backend}",
                    hint="Export it first: artoolkit export CKPT --out BUNDLE",
                )
            record = _checkpoint(
                model, data, split, device=device, imgsz=imgsz, scales=scales, flip=flip,
                progress=progress,
            )  # fmt: skip
    if out is not None:
        from artoolkit.seal import write_atomically

        write_atomically(out, record.to_bytes())
    if as_json:
        click.echo(json.dumps(record.metrics, indent=2))
    else:
        _show(record)


def _bundle(
    model: Path, data: DataSet, split: str, *, backend: str | None, device: str,
    threads: int | None, imgsz: tuple[int, int] | None, progress: Report,
) -> QualityMeasurement:  # fmt: skip
    from artoolkit.bundle import open_bundle
    from artoolkit.cli.source import open_source
    from artoolkit.measure.compare import bundle_subject
    from artoolkit.measure.quality import measure_quality, runner_predictor

    with open_source(model, backend=backend, device=device, imgsz=imgsz, threads=threads) as source:
        return measure_quality(
            runner_predictor(source.runner),
            data,
            split,
            subject=bundle_subject(open_bundle(model, check_hashes=False)),
            labels=source.labels,
            predictor=source.runner.spec,
            batch=source.runner.spec.inputs[0].shape[0],
            progress=lambda done, total: progress(f"mIoU on {split}", done / total),
        )


def _checkpoint(
    model: Path, data: DataSet, split: str, *, device: str, imgsz: tuple[int, int] | None,
    scales: tuple[float, ...], flip: bool, progress: Report,
) -> QualityMeasurement:  # fmt: skip
    from artoolkit.optional import require

    torch = require("torch", "evaluating a checkpoint")
    from artoolkit.measure.checkpoint_predictor import checkpoint_predictor
    from artoolkit.measure.quality import measure_quality
    from artoolkit.measure.verdict import Subject
    from artoolkit.networks.checkpoint import read_checkpoint
    from artoolkit.seal import file_sha256

    checkpoint = read_checkpoint(model)
    predict = checkpoint_predictor(checkpoint, imgsz=imgsz, device=device, scales=scales, flip=flip)
    return measure_quality(
        predict,
        data,
        split,
        subject=Subject(name=model.name, sha256=file_sha256(model)),
        labels=checkpoint.meta.labels,
        predictor={
            "backend": "torch", "version": torch.__version__, "device": device,
            "imgsz": imgsz, "scales": scales, "flip": flip,
        },
        progress=lambda done, total: progress(f"mIoU on {split}", done / total),
    )  # fmt: skip


def _show(record: QualityMeasurement) -> None:
    from rich.console import Console
    from rich.table import Table

    title = f"{record.subject.name} on {record.dataset} {record.split}"
    table = Table("metric", "percent", title=title, title_justify="left")
    for name, value in record.metrics.items():
        shown = "left out: neither labelled nor predicted" if value is None else f"{value:.2f}"
        table.add_row(name, shown, style="bold" if name == "mIoU" else None)
    console = Console()
    console.print(table)
    console.print(f"{len(record.images)} images, one confusion matrix each.")
