"""`artoolkit evaluate`: mIoU of whatever predicts on a split of a data set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from artoolkit.cli.network_options import network_options, requested_network
from artoolkit.cli.options import (
    dataset_options,
    predictor_options,
    requested_predictor,
)

if TYPE_CHECKING:
    from artoolkit.evaluation.quality import QualityMeasurement


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@network_options()
@dataset_options()
@click.option("--split", default="val", show_default=True)
@predictor_options
@click.option("--json", "as_json", is_flag=True, help="Print the metrics as JSON.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the measurement here, with every confusion matrix.",
)
def command(
    *,
    model: Path,
    dataset: str | None,
    data_root: Path | None,
    classes: Path | None,
    split: str,
    as_json: bool,
    out: Path | None,
    **more: Any,
) -> None:
    """mIoU of MODEL on a split of a data set, at the labels' size.

    MODEL is a checkpoint, a bundle, an engine in a bundle or an .onnx file of artoolkit. Without
    --dataset it is judged on the data set that it was trained on. IoU comes
    from the sum of the images' confusion matrices, as cityscapesScripts takes it: void is left
    out, and so is a class that is neither labelled nor predicted.
    """
    from artoolkit import evaluate
    from artoolkit.cli.progress import progress_bar

    network, how = requested_network(more), requested_predictor(more)
    with progress_bar() as progress:
        record = evaluate(
            model, dataset, data_root=data_root, classes=classes, split=split, network=network,
            progress=progress, **how,
        )  # fmt: skip
    if out is not None:
        from artoolkit.evidence.seal import write_atomically

        write_atomically(out, record.to_bytes())
    if as_json:
        click.echo(json.dumps(record.metrics, indent=2))
    else:
        _show(record)


def _show(record: QualityMeasurement) -> None:
    from rich.table import Table

    from artoolkit.cli.terminal import Terminal

    title = f"{record.subject.name} on {record.dataset} {record.split}"
    table = Table("metric", "percent", title=title, title_justify="left")
    for name, value in record.metrics.items():
        shown = "left out: neither labelled nor predicted" if value is None else f"{value:.2f}"
        table.add_row(name, shown, style="bold" if name == "mIoU" else None)
    console = Terminal()
    console.print(table)
    console.print(f"{len(record.images)} images, one confusion matrix each.")
