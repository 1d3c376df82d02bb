"""`artoolkit predict`: label maps in the data set's own ids, and overlays to look at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from artoolkit.cli.network_options import network_options, requested_network
from artoolkit.cli.options import (
    dataset_options,
    open_data,
    out_option,
    predictor_options,
    requested_predictor,
)
from artoolkit.cli.progress import counter, progress_bar
from artoolkit.cli.talk import json_option, tell
from artoolkit.errors import UsageError

if TYPE_CHECKING:
    from artoolkit.data import DataSet
    from artoolkit.data.jobs import Job
    from artoolkit.evaluation.predictor import Predictor


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("source", required=False)
@dataset_options()
@click.option("--split", default="val", show_default=True, help="Split of the data set.")
@out_option(help_text="Folder for labels/ and overlays.")
@network_options()
@predictor_options
@click.option("--overlays/--no-overlays", default=True, help="Colored overlays beside the labels.")
@click.option("--frames", type=click.IntRange(min=1), help="Stop a video or camera after so many.")
@json_option
def command(
    *,
    model: Path,
    source: str | None,
    dataset: str | None,
    data_root: Path | None,
    classes: Path | None,
    split: str,
    out: Path,
    overlays: bool,
    frames: int | None,
    as_json: bool,
    **more: Any,
) -> None:
    """Predict with MODEL what SOURCE or a data set's split shows.

    MODEL is a checkpoint, a bundle, an engine in a bundle or an .onnx file of artoolkit. SOURCE is
    an image, a folder of images, a video, camera:0 or the address of a stream. Writes
    OUT/labels (uint8 PNG in the data set's own class ids, of the image's size, named as the
    Cityscapes test server wants them) and overlays: OUT/overlays, of a video OUT/overlay.mp4.
    A camera's frames that come too fast are dropped and counted; Ctrl-C ends it.
    """
    from artoolkit.data.frames import is_stream
    from artoolkit.evaluation.opening import open_predictor

    if (source is None) == (dataset is None):
        raise UsageError("give either SOURCE (an image or folder) or --dataset with --data-root")
    data = None if dataset is None else open_data(dataset, data_root, classes)
    labels = None if data is None else data.labels
    stream = source is not None and is_stream(source)
    jobs = [] if stream else _jobs(source, data, split)
    network = requested_network(more)
    with open_predictor(
        model, network=network, labels=labels, **requested_predictor(more)
    ) as predictor:
        if stream:
            assert source is not None, "a stream has an address"
            line = _follow(predictor, source, out, overlays=overlays, most=frames)
        else:
            line = _predict(predictor, jobs, out, overlays=overlays)
    tell({"out": out, "images": len(jobs), "summary": line}, line, f"-> {out}", as_json=as_json)


def _predict(predictor: Predictor, jobs: list[Job], out: Path, *, overlays: bool) -> str:
    from time import perf_counter

    from artoolkit.report.predictions import write_predictions

    start = perf_counter()
    with counter("predicting") as progress:
        for done, _ in enumerate(write_predictions(predictor, jobs, out, overlays=overlays), 1):
            progress(done, len(jobs))
    rate = len(jobs) / (perf_counter() - start)
    return f"{len(jobs)} images, {rate:.1f} per second with reading and writing"


def _follow(
    predictor: Predictor, source: str, out: Path, *, overlays: bool, most: int | None
) -> str:
    """Predict a stream until it ends, or Ctrl-C; one line of what was seen."""
    from artoolkit.report.predictions import follow

    line = "no frame was seen"
    frames = follow(predictor, source, out=out, overlays=overlays, most=most)
    with progress_bar() as progress:
        try:
            for followed in frames:
                line = followed.line
                progress(line, 0.0)
        except KeyboardInterrupt:
            frames.close()
    return line


def _jobs(source: str | None, data: DataSet | None, split: str) -> list[Job]:
    from artoolkit.data.jobs import Job, jobs_of

    if source is not None:
        return jobs_of(Path(source))
    assert data is not None, "one of the two is given"
    return [Job(s.image, Path(data.prediction_name(s))) for s in data.samples(split)]
