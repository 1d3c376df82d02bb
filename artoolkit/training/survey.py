"""A look at the labels before a run: what `data check` would warn of, in short.

A run of days should not begin on labels that are all void, and a class that no label holds should
be known before it is missed.
"""

from __future__ import annotations

import logging
from fnmatch import fnmatchcase

from artoolkit.data import DataSet
from artoolkit.data.check import glance
from artoolkit.data.dataset import Pairs
from artoolkit.data.listing import counted
from artoolkit.errors import DataError
from artoolkit.training.recipe import Recipe, Selection

log = logging.getLogger(__name__)

# Seconds at Cityscapes' size; enough to meet a class that stands in one label of fifty.
MOST_LABELS = 200
_MOST_LINES = 5


def survey(recipe: Recipe, dataset: DataSet, *, say: bool = True) -> None:
    """Look at the labels that `recipe` trains and is judged on, and log warnings about them.

    `say` False: of several processes one is enough. Raises `DataError` where no pixel of one part
    is labelled. Of a data set that is no `Pairs`, nothing is known before its labels are read.
    """
    if not isinstance(dataset, Pairs):
        return
    lines = [
        *_looked_at(dataset, recipe.data.train, "train"),
        *_looked_at(dataset, recipe.data.val, "val"),
    ]
    if not say:
        return
    for line in lines[:_MOST_LINES]:
        log.warning("warning: %s", line)
    if lines:
        more = f"{len(lines) - _MOST_LINES} more: " if len(lines) > _MOST_LINES else ""
        log.warning(
            "%sartoolkit data check %s --dataset %s says all", more, dataset.root, dataset.name
        )


def _looked_at(dataset: Pairs, selection: Selection, role: str) -> list[str]:
    def is_wanted(name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in selection.names)

    listings = {split: dataset.listing(split).only(is_wanted) for split in selection.splits}
    reports = [glance(dataset, split, files, most=MOST_LABELS) for split, files in listings.items()]
    looked_at = sum(report.looked_at for report in reports)
    if looked_at and not any(report.is_labelled for report in reports):
        use = "learn from" if role == "train" else "judge by"
        raise DataError(
            f"every pixel of the {looked_at} {role} labels is void: there is nothing to {use}",
            got=f"{dataset.name} at {dataset.root}, {', '.join(selection.splits)}",
            hint="artoolkit data check says which ids the label files hold.",
        )
    lines = []
    for report in reports:
        if report.problems:
            number = counted(len(report.problems), "problem")
            lines.append(f"{report.split}: {number}, such as: {report.problems[0]}")
        lines += [f"{report.split}: {text}" for text in report.warnings]
    return lines
