"""Samples of a folder: their files and names, and the files left out.

The only place that walks through folders of images: linked folders are followed, hidden files and
folders (`.ipynb_checkpoints`, macOS's `._x.png`) are not samples. A name is what people read:
Unicode is composed (NFC), since macOS writes decomposed names, and bytes that are not UTF-8 stand
as `\\xe9`. The path stays as the disk has it.
"""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePath, PureWindowsPath

from artoolkit.data.image_files import IMAGE_ENDINGS
from artoolkit.errors import DataError
from artoolkit.files import one_line

# The name of a file's sample by its path below the folder; None where it belongs to none.
NameOf = Callable[[PurePath], str | None]


@dataclass(frozen=True)
class Files:
    """Files by sample name; `clashes` are sentences about names that two files share.

    `remarks` are sentences about files that were left out, and about odd names.
    """

    paths: dict[str, Path] = field(default_factory=dict)
    clashes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Listing:
    """The files of a split by sample name, before anything is paired."""

    image_files: Files = Files()
    label_files: Files = Files()

    @property
    def images(self) -> dict[str, Path]:
        return self.image_files.paths

    @property
    def labels(self) -> dict[str, Path]:
        return self.label_files.paths

    @property
    def clashes(self) -> tuple[str, ...]:
        return (*self.image_files.clashes, *self.label_files.clashes)

    @property
    def remarks(self) -> tuple[str, ...]:
        return (*self.image_files.remarks, *self.label_files.remarks)

    @cached_property
    def without_label(self) -> tuple[str, ...]:
        return tuple(sorted(self.images.keys() - self.labels.keys()))

    @cached_property
    def without_image(self) -> tuple[str, ...]:
        return tuple(sorted(self.labels.keys() - self.images.keys()))

    def only(self, wanted: Callable[[str], bool]) -> Listing:
        """The same with the sample names that are wanted."""
        parts = (
            Files({n: p for n, p in part.paths.items() if wanted(n)}, part.clashes, part.remarks)
            for part in (self.image_files, self.label_files)
        )
        return Listing(*parts)


def readable(path: PurePath) -> str:
    """The path with composed letters, and bytes that are not UTF-8 as `\\xe9`."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return unicodedata.normalize("NFC", text)


def on_this_system(path: str) -> Path:
    """A path that may have been written on Windows."""
    return Path(PureWindowsPath(path).as_posix())


def with_ending(*endings: str, depth: int = 1) -> NameOf:
    """Names files by what stands before their ending, whatever its case, `depth` folders down."""

    def name_of(path: PurePath) -> str | None:
        found = next((e for e in endings if path.name.lower().endswith(e.lower())), None)
        return path.name[: -len(found)] if found and len(path.parts) == depth else None

    return name_of


def find_files(folder: Path, name_of: NameOf, *, like: NameOf = lambda path: None) -> Files:
    """The files below `folder` that `name_of` names.

    `like` names files that look like samples to a person, such as those with another ending: where
    no file has their name, they are reported as left out.
    """
    paths: dict[str, Path] = {}
    clashes, hidden, nameless, others = [], list[Path](), list[Path](), dict[str, Path]()
    broken = list[Path]()
    for path in _walk(folder):
        below = path.relative_to(folder)
        if any(part.startswith(".") for part in below.parts):
            hidden.append(path)
            continue
        name = name_of(below)
        if name is None:
            if path.is_symlink() and not path.exists():  # maybe a folder, of a disk that is away
                broken.append(path)
            elif (alike := like(below)) is not None:
                others[readable(PurePath(alike))] = path
            continue
        if not name or name.endswith("/"):
            nameless.append(path)
            continue
        name = readable(PurePath(name))
        if name in paths:
            clashes.append(f"{readable(paths[name])} and {readable(path)} are both sample {name}")
        paths[name] = path
    others = {name: path for name, path in others.items() if name not in paths}
    shown = readable(folder)
    endings = Counter(path.suffix for path in others.values())
    listed = ", ".join(f"{count} {ending}" for ending, count in sorted(endings.items()))
    kinds = (
        (f"hidden in {shown}, left out", [path for path in hidden if _is_image(path)]),
        (f"in {shown} left out, named by nothing but the pattern", nameless),
        (f"in {shown} left out, a link that leads nowhere", broken),
        (f"in {shown} left out, {listed}", list(others.values())),
        (f"in {shown} with a name that is not UTF-8", [p for p in paths.values() if _is_odd(p)]),
    )
    remarks = tuple(_sentence(folder, what, found) for what, found in kinds if found)
    return Files(paths, tuple(clashes), remarks)


def images_below(folder: Path, *, depth: int | None = None) -> list[Path]:
    """Every image file that is not hidden, by path; with `depth` 1 of the folder itself only.

    `DataError` where two names are the same to a reader.
    """

    def name_of(path: PurePath) -> str | None:
        wanted = path.suffix.lower() in IMAGE_ENDINGS and depth in (None, len(path.parts))
        return path.as_posix() if wanted else None

    found = find_files(folder, name_of)
    if found.clashes:
        raise DataError(f"two images in {readable(folder)} have one name", got=found.clashes[0],
                        hint="Rename or remove one of them.")  # fmt: skip
    return sorted(found.paths.values())


def _walk(folder: Path) -> Iterator[Path]:
    """Every file, sorted; links to folders are followed, but not in a circle."""
    seen = set[tuple[int, int]]()

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # a split may lack its folder of labels
            raise DataError(f"{readable(Path(error.filename))} cannot be listed: {one_line(error)}")

    for place, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        state = Path(place).stat()
        if (state.st_dev, state.st_ino) in seen:
            folders.clear()
            continue
        seen.add((state.st_dev, state.st_ino))
        folders.sort()
        yield from (Path(place, file) for file in sorted(files))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_ENDINGS or path.name.lower() in IMAGE_ENDINGS


def _is_odd(path: Path) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in path.name)


def _sentence(folder: Path, what: str, paths: list[Path], *, most: int = 3) -> str:
    some = ", ".join(readable(path.relative_to(folder)) for path in paths[:most])
    return f"{counted(len(paths), 'file')} {what}: {some}{' ...' if len(paths) > most else ''}"


def counted(count: int, what: str) -> str:
    """`1 file`, `2 files`."""
    return f"{count} {what}{'' if count == 1 else 's'}"
