"""`artoolkit evaluate`: mIoU of a checkpoint or bundle on a split of a data set."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from artoolkit.cli.network_options import network_options, requested_network
from artoolkit.cli.options import (
    CommaList,
    dataset_options,
    device_option,
    imgsz_option,
    open_data,
)
from artoolkit.errors import UsageError
from artoolkit.words import BACKENDS

if TYPE_CHECKING:
    from artoolkit.cli.progress import Report
    from artoolkit.data import DataSet
    from artoolkit.evaluation.quality import QualityMeasurement
    from artoolkit.evaluation.views import Views
    from artoolkit.spec import RequestedNetwork


@click.command()
@click.argument("model", type=click.Path(path_type=Path, exists=True))
@network_options()
@dataset_options(required=True)
@click.option("--split", default="val", show_default=True)
@click.option(
    "--backend",
    type=click.Choice(BACKENDS),
    help="Default: torch for a checkpoint, the target's for a bundle.",
)
@device_option(default=None)
@click.option("--threads", type=click.IntRange(min=1), help="Threads of one operator on a CPU.")
@imgsz_option(
    help_text="Network input of a checkpoint: height width (default: the image's own, or the one "
    "size that published weights were made for)."
)
@click.option(
    "--scales",
    type=CommaList(float),
    default="1",
    show_default=True,
    help="Scales to average over (checkpoints only).",
)
@click.option("--flip", is_flag=True, help="Average with the mirrored image (checkpoints only).")
@click.option(
    "--window",
    nargs=2,
    type=click.IntRange(min=1),
    metavar="H W",
    help="Slide a window of this size over every scale and average where windows overlap "
    "(checkpoints only).",
)
@click.option(
    "--window-stride",
    nargs=2,
    type=click.IntRange(min=1),
    metavar="H W",
    help="Pixels from one window to the next.  [default: two thirds of the window]",
)
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
    device: str | None,
    threads: int | None,
    imgsz: tuple[int, int] | None,
    as_json: bool,
    out: Path | None,
    **more: Any,
) -> None:
    """mIoU of MODEL (a checkpoint or a bundle) on a split of a data set, at the labels' size.

    IoU comes from the sum of the images' confusion matrices, as cityscapesScripts takes it: void
    is left out, and so is a class that is neither labelled nor predicted.
    """
    from artoolkit.backends import backend_named
    from artoolkit.cli.progress import progress_bar

    network = requested_network(more)
    data = open_data(dataset, data_root, classes)
    with progress_bar() as progress:
        if model.is_dir():
            if more != {"scales": (1.0,), "flip": False, "window": None, "window_stride": None}:
                raise UsageError(
                    "a bundle sees the whole image once",
                    hint="--scales, --flip and --window need its checkpoint.",
                )
            record = _bundle(
                model, data, split, backend=backend, device=device, threads=threads,
                imgsz=imgsz, progress=progress,
            )  # fmt: skip
        else:
            if backend is not None and not backend_named(backend).checkpoints:
                raise UsageError(
                    f"a checkpoint runs on torch, not on {backend}",
                    hint="Export it first: artoolkit export CKPT --out BUNDLE",
                )
            record = _checkpoint(
                model, data, split, network=network, device=device or "cpu", imgsz=imgsz,
                views=_views(**more), progress=progress,
            )  # fmt: skip
    if out is not None:
        from artoolkit.evidence.seal import write_atomically

        write_atomically(out, record.to_bytes())
    if as_json:
        click.echo(json.dumps(record.metrics, indent=2))
    else:
        _show(record)


def _bundle(
    model: Path, data: DataSet, split: str, *, backend: str | None, device: str | None,
    threads: int | None, imgsz: tuple[int, int] | None, progress: Report,
) -> QualityMeasurement:  # fmt: skip
    from artoolkit.checks.contest import Contestant
    from artoolkit.cli.source import open_source
    from artoolkit.evaluation.quality import measure_quality, runner_predictor
    from artoolkit.evidence.bundle import open_bundle

    with open_source(model, backend=backend, device=device, imgsz=imgsz, threads=threads) as source:
        return measure_quality(
            runner_predictor(source.runner),
            data,
            split,
            subject=Contestant(open_bundle(model, check_hashes=False)).subject,
            labels=source.labels,
            predictor=source.runner.spec,
            batch=source.runner.spec.inputs[0].shape[0],
            progress=lambda done, total: progress(f"mIoU on {split}", done / total),
        )


def _views(
    *, scales: tuple[float, ...], flip: bool, window: tuple[int, int] | None,
    window_stride: tuple[int, int] | None,
) -> Views:  # fmt: skip
    from artoolkit.evaluation.views import Views

    try:
        return Views(scales=scales, flip=flip, window=window, stride=window_stride)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _checkpoint(
    model: Path, data: DataSet, split: str, *, network: RequestedNetwork, device: str,
    imgsz: tuple[int, int] | None, views: Views, progress: Report,
) -> QualityMeasurement:  # fmt: skip
    from artoolkit.optional import require

    torch = require("torch", "evaluating a checkpoint")
    from artoolkit.evaluation.checkpoint_predictor import checkpoint_predictor
    from artoolkit.evaluation.quality import measure_quality
    from artoolkit.evidence.seal import file_sha256
    from artoolkit.evidence.verdict import Subject
    from artoolkit.networks.loading import load

    checkpoint = load(model, network=network, labels=data.labels)
    imgsz = imgsz or checkpoint.meta.imgsz
    return measure_quality(
        checkpoint_predictor(checkpoint, imgsz=imgsz, device=device, views=views),
        data,
        split,
        subject=Subject(name=model.name, sha256=file_sha256(model)),
        labels=checkpoint.meta.labels,
        predictor={
            "backend": "torch", "version": torch.__version__, "device": device,
            "imgsz": imgsz, **asdict(views),
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
