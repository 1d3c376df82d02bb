"""Columns of a table of Hugging Face's `datasets`: an image and a label map of ids in every row.

Optional: `pip install "artoolkit[huggingface]"`. A folder is read as `save_to_disk` left it, any
other name is asked of the hub.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from artoolkit.data.convert.source import Pair, Pixels, Settings, Source
from artoolkit.errors import DataError
from artoolkit.optional import require


def columns(source: Path, settings: Settings) -> Source:
    """Every split of the table; ids from the number of names on must be 255, which is void."""
    if not settings.names:
        raise DataError(f"a table does not name the classes of {source}", expected="--names A,B,C")
    datasets = require("datasets", "reading a table of Hugging Face")
    try:
        if source.is_dir():
            table = datasets.load_from_disk(str(source))
        else:
            table = datasets.load_dataset(source.as_posix())
    except Exception as error:  # the hub, the network and the disk each raise their own
        raise DataError(f"{source} cannot be read: {error}") from error
    tables = table if isinstance(table, Mapping) else {settings.split: table}
    splits = {split: _pairs(rows, settings) for split, rows in tables.items()}
    return Source("huggingface", settings.names, splits)


def _pairs(rows: Sequence[dict[str, Any]], settings: Settings) -> list[Pair]:
    """Pairs that read a row when its turn comes."""
    found = []
    for number in range(len(rows)):
        row = rows[number]
        missing = [c for c in (settings.image_column, settings.label_column) if c not in row]
        if missing:
            raise DataError(f"no column {missing[0]}", got=", ".join(row),
                            hint="Give --image-column and --label-column.")  # fmt: skip
        content = io.BytesIO()
        row[settings.image_column].convert("RGB").save(content, "PNG", compress_level=1)
        label = partial(_label, row[settings.label_column], number, len(settings.names))
        found.append(Pair(f"{number:06}", content.getvalue(), label))
    return found


def _label(image: Image.Image, number: int, classes: int) -> Pixels:
    ids = np.asarray(image)
    wrong = np.setdiff1d(ids, [*range(classes), 255])
    if ids.ndim != 2 or wrong.size:
        raise DataError(f"the label of row {number} is no map of {classes} ids",
                        got=f"{ids.shape}, id {wrong[:1].tolist()}")  # fmt: skip
    return ids.astype(np.uint8)
