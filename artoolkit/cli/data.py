"""`artoolkit data`: generate, prepare and check data sets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from artoolkit.cli.names import DATASET
from artoolkit.cli.options import CommaList
from artoolkit.cli.progress import counter
from artoolkit.cli.talk import json_option, tell
from artoolkit.cores import usable_cores
from artoolkit.errors import visible
from artoolkit.words import ANNOTATIONS, DATASETS

if TYPE_CHECKING:
    from artoolkit.data.check import SplitReport
    from artoolkit.data.dataset import Pairs

_FOLDER = click.Path(path_type=Path, file_okay=False)


_WORKERS = click.option(
    "--workers", type=click.IntRange(min=1), help="Parallel workers; all cores by default."
)


@click.group(name="data")
def command() -> None:
    """Generate, prepare and check data sets."""


@command.command()
@click.argument("out", type=_FOLDER)
@click.option("--train", default=40, show_default=True, help="Images to train on.")
@click.option("--val", default=12, show_default=True, help="Images to judge on.")
@click.option("--imgsz", nargs=2, type=int, default=(256, 512), show_default=True, metavar="H W",
              help="Image size in pixels: height width.")  # fmt: skip
@click.option("--seed", default=0, show_default=True, help="Another seed, other streets.")
@_WORKERS
@json_option
def synthesize(
    *,
    out: Path,
    train: int,
    val: int,
    imgsz: tuple[int, int],
    seed: int,
    workers: int | None,
    as_json: bool,
) -> None:
    """Write generated street scenes to OUT, in the layout of Cityscapes."""
    from artoolkit.data.synthetic import synthesize as generate

    with counter("painting") as progress:
        generate(out, train=train, val=val, size_hw=imgsz, seed=seed,
                 workers=workers or usable_cores(), progress=progress)  # fmt: skip
    tell(
        {"data_root": out, "dataset": "cityscapes", "train": train, "val": val, "imgsz": imgsz},
        f"{train} training and {val} validation images of height {imgsz[0]}, width {imgsz[1]} "
        f"in {out} (--dataset cityscapes --data-root {out})",
        as_json=as_json,
    )


@command.command()
@click.argument("root", type=_FOLDER)
@click.option(
    "--dataset", required=True, type=DATASET, metavar="NAME", help=", ".join(DATASETS) + "."
)
@click.option("--classes", type=click.Path(path_type=Path, dir_okay=False),
              help="Class list of a folder data set; ROOT/classes.toml by default.")  # fmt: skip
@click.option("--split", "splits", multiple=True, help="Only this split; may be given repeatedly.")
@click.option("--strict", is_flag=True, help="Fail on warnings too.")
@click.option("--decode-images", is_flag=True,
              help="Decode every image too: finds damage behind its header.")  # fmt: skip
@_WORKERS
@json_option
def check(
    *,
    root: Path,
    dataset: str,
    classes: Path | None,
    splits: tuple[str, ...],
    strict: bool,
    decode_images: bool,
    workers: int | None,
    as_json: bool,
) -> None:
    """Check the data set at ROOT: count it, and name every file that would stop a run.

    Reads every label, and of PNG and JPEG images the header and the end.

    Warnings are what a run goes on with: classes without a pixel, files left out, images that are
    in two splits. Exit code 4 where there is a problem, and with --strict where there is a warning.
    """
    from artoolkit.data import open_dataset
    from artoolkit.data.check import check_dataset
    from artoolkit.data.listing import counted
    from artoolkit.errors import DataError

    data = open_dataset(dataset, root, classes=classes)
    with counter("reading") as progress:
        reports = check_dataset(
            data, splits=splits, workers=workers or usable_cores(), decode_images=decode_images,
            progress=progress,
        )  # fmt: skip
    kinds = ("notes", "warnings", "problems")
    found = {
        kind: [f"{one.split}: {text}" for one in reports for text in getattr(one, kind)]
        for kind in kinds
    }
    if as_json:
        splits_found = {one.split: _counts(data, one) for one in reports}
        tell({"splits": splits_found, **found}, as_json=True)
    else:
        _show(data, reports)
        for kind in kinds:
            _list(kind, found[kind])
    problems, warnings = len(found["problems"]), len(found["warnings"])
    if problems:
        raise DataError(f"{problems} problem(s) in {dataset} at {root}, all listed above",
                        hint="Repair or remove these files.")  # fmt: skip
    if strict and warnings:
        raise DataError(f"{warnings} warning(s) in {dataset} at {root}, all listed above",
                        hint="Without --strict they are no error.")  # fmt: skip
    if not as_json:
        click.echo(f"No problem, {counted(warnings, 'warning') if warnings else 'no warning'}.")


def _counts(data: Pairs, report: SplitReport) -> dict[str, Any]:
    pixels = dict(zip((*data.labels.names, "void"), map(int, report.class_pixels), strict=False))
    return {"images": report.images, "labels": report.labels, "class_pixels": pixels}


@command.command()
@click.argument("form", type=click.Choice(ANNOTATIONS), metavar="FORM")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("out", type=_FOLDER)
@click.option("--images", type=_FOLDER,
              help="Folder of the images of COCO; that of SOURCE by default.")  # fmt: skip
@click.option("--split", default="train", show_default=True,
              help="Split that COCO's file, A2D2 or a table without splits becomes.")  # fmt: skip
@click.option("--void-background", is_flag=True,
              help="Pixels under no object are void; by default they are a class.")  # fmt: skip
@click.option("--image-column", default="image", show_default=True, help="Of a table.")
@click.option("--label-column", default="label", show_default=True, help="Of a table.")
@click.option("--names", type=CommaList(str), default=(), help="Classes of a table, by id.")
@json_option
def convert(
    *, form: str, source: Path, out: Path, void_background: bool, as_json: bool, **given: Any
) -> None:
    """Turn annotations of others into a data set in OUT for --dataset folder.

    FORM and SOURCE: coco-panoptic and coco-instances, a JSON file; yolo, a data.yaml; vistas,
    bdd100k and a2d2, the folder of Mapillary Vistas, BDD100K or A2D2; huggingface, a folder of
    save_to_disk or a name on the hub. Call it again with another --split to add one.
    """
    from artoolkit.data.convert import convert as write
    from artoolkit.data.convert.source import Settings

    settings = Settings(background=not void_background, **given)
    with counter("converting") as progress:
        counts = write(form, source, out, settings, progress=progress)
    listed = ", ".join(f"{count} {split}" for split, count in counts.items())
    tell(
        {"data_root": out, "dataset": "folder", "images": counts},
        f"{listed} images in {out} (--dataset folder --data-root {out})",
        as_json=as_json,
    )


def _show(data: Pairs, reports: tuple[SplitReport, ...]) -> None:
    from rich.table import Table

    from artoolkit.cli.terminal import Terminal

    table = Table(title=f"{data.name} at {data.root}", title_justify="left")
    table.add_column("")
    for report in reports:
        table.add_column(report.split, justify="right")
    table.add_row("images", *(str(report.images) for report in reports))
    table.add_row("labels", *(str(report.labels) for report in reports))
    sizes = ([f"{h} x {w}: {n}" for (h, w), n in sorted(r.sizes_hw.items())] for r in reports)
    shown = (lines[:3] + [f"and {len(lines) - 3} more"] * (len(lines) > 3) for lines in sizes)
    table.add_row("sizes (H x W)", *("\n".join(lines) for lines in shown), end_section=True)
    for i, name in enumerate((*data.labels.names, "void")):
        table.add_row(name, *(_share(report, i) for report in reports))
    Terminal().print(table)
    click.echo("per class: share of the pixels, images that have any")


def _list(kind: str, lines: list[str]) -> None:
    """Prints the sentences of one kind below its name, if there are any."""
    if lines:
        click.secho(f"\n{kind.capitalize()}", bold=True)
    for line in lines:
        click.echo(visible(line))


def _share(report: SplitReport, index: int) -> str:
    total = int(report.class_pixels.sum())
    if not total:
        return "-"
    share = 100 * report.class_pixels[index] / total
    return f"{share:.2f} %  {report.class_images[index]:>5}"


@command.command("prepare-nyuv2")
@click.argument("mat", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("out", type=_FOLDER)
@json_option
def prepare_nyuv2(*, mat: Path, out: Path, as_json: bool) -> None:
    """Turn MAT (nyu_depth_v2_labeled.mat) into 795 training and 654 validation pairs in OUT."""
    from artoolkit.data.prepare_nyuv2 import prepare

    with counter("unpacking") as progress:
        counts = prepare(mat, out, progress=progress)
    tell(
        {"data_root": out, "dataset": "nyuv2", **counts},
        f"{counts['train']} training and {counts['val']} validation images in {out} "
        f"(--dataset nyuv2 --data-root {out})",
        as_json=as_json,
    )
