"""Which images and labels something was made from, as one short record that can be made again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from artoolkit.data.dataset import Sample
from artoolkit.evidence.seal import file_sha256


def fingerprint(samples: Sequence[Sample]) -> dict[str, Any]:
    """`images` and `sha256`: the number of samples, and a hash of their names and label files.

    The hash is over a line `name, tab, sha256 of the label file` for each sample in its order; `-`
    where a sample has no label file. Images are not read: that would take as long as an epoch.
    """
    lines = (f"{sample.name}\t{_label_sha256(sample)}\n" for sample in samples)
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    return {"images": len(samples), "sha256": digest}


def _label_sha256(sample: Sample) -> str:
    if sample.label is None or not sample.label.is_file():
        return "-"
    return file_sha256(sample.label)
