"""`artoolkit predict`: label maps in the data set's own ids, and overlays to look at."""

from __future__ import annotations

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
from artoolkit.errors import UsageError

if TYPE_CHECKING:
    from artoolkit.cli.source import Source
    from artoolkit.data.jobs import Job


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("source", required=False)
@dataset_options()
@click.option("--split", default="val", show_default=True, help="Split of the data set.")
@out_option(help_text="Folder for labels/ and overlays.")
@trust_option
@backend_option()
@device_option(default=None)
@imgsz_option(help_text="Network input of a checkpoint: height width (a bundle has its own).")
@click.option("--overlays/--no-overlays", default=True, help="Colored overlays beside the labels.")
@click.option("--frames", type=click.IntRange(min=1), help="Stop a video or camera after so many.")
def command(
    *,
    model: Path,
    source: str | None,
    dataset: str | None,
    data_root: Path | None,
    classes: Path | None,
    split: str,
    out: Path,
    backend: str | None,
    device: str | None,
    imgsz: tuple[int, int] | None,
    overlays: bool,
    frames: int | None,
) -> None:
    """Predict with MODEL (bundle or checkpoint) what SOURCE or a data set's split shows.

    SOURCE is a picture, a folder of pictures, a video, camera:0 or the address of a stream. Writes
    OUT/labels (uint8 PNG in the data set's own class ids, of the picture's size, named as the
    Cityscapes test server wants them) and overlays: OUT/overlays, of a video OUT/overlay.mp4.
    A camera's frames that come too fast are dropped and counted; Ctrl-C ends it.
    """
    from artoolkit.cli.source import open_source
    from artoolkit.data.frames import is_stream

    stream = source is not None and dataset is None and is_stream(source)
    jobs = [] if stream else _jobs(source, dataset, data_root, classes, split)
    with open_source(model, backend=backend, device=device, imgsz=imgsz) as opened:
        if stream:
            assert source is not None, "a stream has an address"
            click.echo(_follow(opened, source, out, overlays=overlays, most=frames))
        else:
            _predict(opened, jobs, out, overlays=overlays)
    click.echo(f"-> {out}")


def _predict(opened: Source, jobs: list[Job], out: Path, *, overlays: bool) -> None:
    from time import perf_counter

    from rich.progress import track

    from artoolkit.evaluation.quality import runner_predictor
    from artoolkit.report.predictions import write_predictions

    done = write_predictions(
        runner_predictor(opened.runner),
        jobs,
        out,
        table=opened.labels,
        batch=opened.runner.spec.inputs[0].shape[0],
        overlays=overlays,
    )
    start = perf_counter()
    for _ in track(done, total=len(jobs), description="Predicting"):
        pass
    seconds = perf_counter() - start
    click.echo(f"{len(jobs)} pictures, {len(jobs) / seconds:.1f} a second with reading and writing")


def _follow(opened: Source, source: str, out: Path, *, overlays: bool, most: int | None) -> str:
    """Predict a stream until it ends, or Ctrl-C; what came of it."""
    from rich.console import Console
    from rich.status import Status

    from artoolkit.evaluation.quality import runner_predictor
    from artoolkit.report.predictions import follow

    line = "no frame was seen"
    frames = follow(
        runner_predictor(opened.runner), source,
        table=opened.labels, out=out, overlays=overlays, most=most,
    )  # fmt: skip
    with Status("Predicting", console=Console(stderr=True)) as status:
        try:
            for followed in frames:
                line = followed.line
                status.update(line)
        except KeyboardInterrupt:
            frames.close()
    return line


def _jobs(
    source: str | None, dataset: str | None, data_root: Path | None, classes: Path | None,
    split: str,
) -> list[Job]:  # fmt: skip
    from artoolkit.data.jobs import Job, jobs_of

    if (source is None) == (dataset is None):
        raise UsageError("give either SOURCE (a picture or folder) or --dataset with --data-root")
    if source is not None:
        return jobs_of(Path(source))
    assert dataset is not None, "checked above"
    data = open_data(dataset, data_root, classes)
    return [Job(s.image, Path(data.prediction_name(s))) for s in data.samples(split)]
