"""`artoolkit predict`: label maps in the data set's own ids, and overlays to look at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from artoolkit.cli.network_options import trust_option
from artoolkit.cli.options import (
    backend_option,
    dataset_options,
    device_option,
    imgsz_option,
    open_data,
    out_option,
)
from artoolkit.errors import DataError, UsageError

if TYPE_CHECKING:
    from artoolkit.cli.source import Source

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm")


@dataclass(frozen=True)
class Job:
    """One picture, and where its label map goes under `labels/`."""

    image: Path
    name: Path


def _label_name(relative: Path) -> Path:
    """`a/x_leftImg8bit.png` -> `a/x_pred_labelIds.png`, `a/x.jpg` -> `a/x.png`."""
    stem = relative.stem
    city = stem.removesuffix("_leftImg8bit")
    return relative.with_name(f"{stem}.png" if city == stem else f"{city}_pred_labelIds.png")


def jobs_of(source: Path) -> list[Job]:
    """A picture, or every picture below a folder, sorted; `DataError` where there is none."""
    if source.is_file():
        return [Job(source, _label_name(Path(source.name)))]
    if not source.is_dir():
        raise DataError(f"{source} does not exist", expected="a picture or a folder of pictures")
    found = sorted(p for p in source.rglob("*") if p.suffix.lower() in PICTURES)
    if not found:
        raise DataError(f"{source} holds no picture", expected=f"files ending in {PICTURES}")
    jobs = [Job(path, _label_name(path.relative_to(source))) for path in found]
    if len({job.name for job in jobs}) < len(jobs):
        raise DataError(f"{source} holds pictures that differ in their ending only")
    return jobs


def predict(source: Source, jobs: list[Job], out: Path, *, overlays: bool) -> Iterator[Job]:
    """Write `out/labels` and `out/overlays`, yielding each job when its files are there."""
    from artoolkit.data.pictures import read_rgb, write_png
    from artoolkit.preprocess import fit_image, fit_labels
    from artoolkit.report.overlay import overlay

    for job in jobs:
        image = read_rgb(job.image)
        network_labels = source.runner.infer(fit_image(image, source.imgsz)[None])["labels"][0]
        labels = fit_labels(network_labels, (image.shape[0], image.shape[1]))
        write_png(source.labels.to_file_ids(labels), out / "labels" / job.name)
        if overlays:
            write_png(overlay(image, labels, source.labels), out / "overlays" / job.name)
        yield job


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("source", type=click.Path(path_type=Path), required=False)
@dataset_options()
@click.option("--split", default="val", show_default=True, help="Split of the data set.")
@out_option(help_text="Folder for labels/ and overlays/.")
@trust_option
@backend_option()
@device_option(default=None)
@imgsz_option(help_text="Network input of a checkpoint: height width (a bundle has its own).")
@click.option("--overlays/--no-overlays", default=True, help="Coloured overlays beside the labels.")
def command(
    *,
    model: Path,
    source: Path | None,
    dataset: str | None,
    data_root: Path | None,
    classes: Path | None,
    split: str,
    out: Path,
    backend: str | None,
    device: str | None,
    imgsz: tuple[int, int] | None,
    overlays: bool,
) -> None:
    """Predict a picture, a folder or a data set's split with MODEL (bundle or checkpoint).

    Writes OUT/labels (uint8 PNG in the data set's own class ids, of the picture's size, named as
    the Cityscapes test server wants them) and OUT/overlays.
    """
    from rich.progress import track

    from artoolkit.cli.source import open_source

    jobs = _jobs(source, dataset, data_root, classes, split)
    with open_source(model, backend=backend, device=device, imgsz=imgsz) as opened:
        done = predict(opened, jobs, out, overlays=overlays)
        for _ in track(done, total=len(jobs), description="Predicting"):
            pass
    folders = "labels, overlays" if overlays else "labels"
    click.echo(f"{len(jobs)} pictures -> {out} ({folders})")


def _jobs(
    source: Path | None, dataset: str | None, data_root: Path | None, classes: Path | None,
    split: str,
) -> list[Job]:  # fmt: skip
    if (source is None) == (dataset is None):
        raise UsageError("give either SOURCE (a picture or folder) or --dataset with --data-root")
    if source is not None:
        return jobs_of(source)
    assert dataset is not None, "checked above"
    data = open_data(dataset, data_root, classes)
    return [Job(s.image, Path(data.prediction_name(s))) for s in data.samples(split)]
