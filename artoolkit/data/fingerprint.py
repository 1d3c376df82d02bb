"""Fingerprint of images and labels: one short record that can be made again."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from artoolkit.data.dataset import Sample
from artoolkit.evidence.seal import file_sha256

_PART_BYTES = 4096  # one page: what a disk reads at least


def fingerprint(samples: Sequence[Sample]) -> dict[str, Any]:
    """Number of images, hash of names and labels, and size and hash of some of the images' bytes.

    `sha256` is over a line `name, tab, sha256 of the label file` for each sample in its order; `-`
    where a sample has no label file. Images are not read whole, which would take as long as an
    epoch: `image_bytes` is the sum of their files' sizes, and `image_sha256` over each one's size,
    and 4 KiB of its middle, where every encoder has pixels.
    """
    lines = (f"{sample.name}\t{_label_sha256(sample)}\n" for sample in samples)
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    parts = [_part(sample.image) for sample in samples if sample.image.is_file()]
    return {
        "images": len(samples),
        "sha256": digest,
        "image_bytes": sum(size for size, _ in parts),
        "image_sha256": hashlib.sha256(repr(parts).encode()).hexdigest(),
    }


def _part(image: Path) -> tuple[int, str]:
    """Size of the file, and the sha256 of its middle."""
    with image.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(max(0, (size - _PART_BYTES) // 2))
        return size, hashlib.sha256(file.read(_PART_BYTES)).hexdigest()


def _label_sha256(sample: Sample) -> str:
    if sample.label is None or not sample.label.is_file():
        return "-"
    return file_sha256(sample.label)
