"""Fingerprint of images and labels: one short record that can be made again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from artoolkit.data.dataset import Sample
from artoolkit.evidence.seal import file_sha256


def fingerprint(samples: Sequence[Sample]) -> dict[str, Any]:
    """`images`, `sha256` and `image_bytes`: number, hash of names and labels, size of the images.

    The hash is over a line `name, tab, sha256 of the label file` for each sample in its order; `-`
    where a sample has no label file. Images are not read, which would take as long as an epoch:
    the sum of their files' sizes shows all but the rarest change.
    """
    lines = (f"{sample.name}\t{_label_sha256(sample)}\n" for sample in samples)
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    sizes = (sample.image.stat().st_size for sample in samples if sample.image.is_file())
    return {"images": len(samples), "sha256": digest, "image_bytes": sum(sizes)}


def _label_sha256(sample: Sample) -> str:
    if sample.label is None or not sample.label.is_file():
        return "-"
    return file_sha256(sample.label)
