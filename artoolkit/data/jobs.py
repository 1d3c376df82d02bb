"""The pictures that a prediction is asked for, and the names of their label maps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from artoolkit.data.image_files import IMAGE_ENDINGS
from artoolkit.data.listing import images_below, readable
from artoolkit.errors import DataError


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
    found = images_below(source)
    if not found:
        raise DataError(
            f"{source} holds no picture", expected=f"files ending in {', '.join(IMAGE_ENDINGS)}"
        )
    jobs: dict[str, Job] = {}
    for path in found:
        name = readable(_label_name(path.relative_to(source)))
        if name in jobs:
            raise DataError(
                f"two pictures in {source} would have one label map, {name}",
                got=f"{readable(jobs[name].image)} and {readable(path)}",
                hint="Rename one of them, or predict them into two folders.",
            )
        jobs[name] = Job(path, Path(name))
    return list(jobs.values())
