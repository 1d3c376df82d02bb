"""The pictures that a prediction is asked for, and the names of their label maps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from artoolkit.errors import DataError

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm")


@dataclass(frozen=True)
class Job:
    """One picture, and where its label map goes under `labels/`."""

    image: Path
    name: Path


def _label_name(relative: Path) -> Path:
    """`a/x_leftImg8bit.png` -> `a/x_pred_labelIds.png`, `a/x.jpg` -> `a/x.png`."""
    stem = relative.stem
    city = stem.removesuffix("_leftImg8bit")
    return relative.with_name(f"{stem}.png" if city == stem else f"{city}_pred_labelIds.png")


def jobs_of(source: Path) -> list[Job]:
    """A picture, or every picture below a folder, sorted; `DataError` where there is none."""
    if source.is_file():
        return [Job(source, _label_name(Path(source.name)))]
    if not source.is_dir():
        raise DataError(f"{source} does not exist", expected="a picture or a folder of pictures")
    found = sorted(p for p in source.rglob("*") if p.suffix.lower() in PICTURES)
    if not found:
        raise DataError(f"{source} holds no picture", expected=f"files ending in {PICTURES}")
    jobs = [Job(path, _label_name(path.relative_to(source))) for path in found]
    if len({job.name for job in jobs}) < len(jobs):
        raise DataError(f"{source} holds pictures that differ in their ending only")
    return jobs
