"""Data sets: paths, decoded numpy arrays and label tables. No torch: the robot evaluates too.

One data set a file; `dataset.py` holds what they share. Read `open_dataset` first.
"""

from __future__ import annotations

from pathlib import Path

from artoolkit.data import camvid, cityscapes, nyuv2
from artoolkit.data.camvid import CamVid
from artoolkit.data.cityscapes import Cityscapes, root_from_environment
from artoolkit.data.dataset import DataSet, Pairs, Sample, spread
from artoolkit.data.folder import folder_from_toml
from artoolkit.data.nyuv2 import NYUv2
from artoolkit.errors import UsageError
from artoolkit.labels import LabelTable
from artoolkit.words import CITYSCAPES_VARIABLE, DATASETS

__all__ = ["DataSet", "Sample", "dataset_of", "open_dataset", "spread"]


def label_table(name: str) -> LabelTable:
    """The classes of a data set whose label order is fixed: all but `folder`."""
    return {"cityscapes": cityscapes.LABELS, "camvid": camvid.label_table(), "nyuv2": nyuv2.LABELS}[
        name
    ]


def dataset_of(
    dataset: DataSet | str | None,
    root: Path | str | None = None,
    *,
    classes: Path | str | None = None,
) -> DataSet:
    """An open data set as it is, or the one of this name as in `open_dataset`."""
    if dataset is None or isinstance(dataset, str):
        return open_dataset(dataset, root, classes=classes)
    return dataset


def open_dataset(
    name: str | None, root: Path | str | None = None, *, classes: Path | str | None = None
) -> Pairs:
    """The data set `name` (one of `words.DATASETS`) at `root`; nothing is read before `samples`.

    `root` may be left out for Cityscapes where CITYSCAPES_DATASET is set. `classes` is the TOML
    file that describes a `folder` data set (`ROOT/classes.toml` by default). Raises `UsageError`
    for an unknown name or an option too many or too few, `RecipeError` for a wrong `classes`.
    """
    if name is None:
        raise UsageError("no data set", expected="--dataset NAME")
    if name not in DATASETS:
        raise UsageError.unknown("data set", name, DATASETS)
    if classes is not None and name != "folder":
        raise UsageError(f"{name} has its own classes", got=f"--classes {classes}",
                         hint="--classes goes with --dataset folder.")  # fmt: skip
    folder = root or (root_from_environment() if name == "cityscapes" else None)
    if folder is None:
        raise UsageError(f"no data root for {name}", expected="--data-root FOLDER",
                         hint=f"For Cityscapes, {CITYSCAPES_VARIABLE} is taken too.")  # fmt: skip
    if name == "folder":
        return folder_from_toml(Path(folder), Path(classes or Path(folder) / "classes.toml"))
    makers: dict[str, type[Cityscapes] | type[CamVid] | type[NYUv2]] = {
        "cityscapes": Cityscapes, "camvid": CamVid, "nyuv2": NYUv2
    }  # fmt: skip
    return makers[name](Path(folder))
