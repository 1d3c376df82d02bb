"""Your own data: folders of images and labels, described by a `classes.toml`.

    name = "yard"
    void = [0, 255]                # ids in the label files that mean void; [255] by default

    [[classes]]                    # in the order of the train ids
    name = "ground"
    color = [128, 64, 128]         # by default one that is told apart easily
    id = 7                         # in the label files; by default its place in this list

    [splits.train]                 # folders, relative to --data-root; subfolders are searched
    images = "train/images"
    labels = "train/labels"        # may be left out where there are none

    [patterns]                     # the part under * pairs an image with its label
    image = "*.png"
    label = "*_mask.png"           # "*.png" by default

All mistakes of the file are reported at once.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationError, model_validator

from artoolkit.data.dataset import Listing, Pairs, folder_at
from artoolkit.errors import RecipeError
from artoolkit.labels import MAX_CLASSES, VOID, Color, LabelTable
from artoolkit.spec import Frozen, problems, read_toml


def _one_star(pattern: str) -> str:
    if pattern.count("*") != 1 or "/" in pattern or set(pattern) & set("?[]"):
        raise ValueError("a pattern is a file name with exactly one *")
    return pattern


Pattern = Annotated[str, AfterValidator(_one_star)]
Id = Annotated[int, Field(ge=0, le=255)]


class FolderClass(Frozen):
    """One class of the list."""

    name: str = Field(min_length=1)
    color: Color | None = None
    id: Id | None = None


class FolderSplit(Frozen):
    """Where the files of a split lie."""

    images: str
    labels: str | None = None


class Patterns(Frozen):
    """How a file name holds the sample's name."""

    image: Pattern = "*.png"
    label: Pattern = "*.png"


class FolderSpec(Frozen):
    """The whole `classes.toml`."""

    name: str = "folder"
    void: tuple[Id, ...] = (VOID,)
    classes: tuple[FolderClass, ...] = Field(min_length=1, max_length=MAX_CLASSES)
    splits: dict[str, FolderSplit] = Field(min_length=1)
    patterns: Patterns = Patterns()

    @model_validator(mode="after")
    def _is_consistent(self) -> FolderSpec:
        ids, names = self.file_ids, [c.name for c in self.classes]
        wrong = [f"id {i} is both a class and void" for i in sorted(set(ids) & set(self.void))]
        wrong += [f"id {i} stands for several classes" for i in sorted(_twice(ids))]
        wrong += [f"class {n!r} stands twice" for n in sorted(_twice(names))]
        if wrong:
            raise ValueError(", ".join(wrong))
        return self

    @property
    def file_ids(self) -> tuple[int, ...]:
        return tuple(i if c.id is None else c.id for i, c in enumerate(self.classes))

    def table(self) -> LabelTable:
        """The label table of the list."""
        count = len(self.classes)
        return LabelTable(
            name=self.name,
            names=tuple(c.name for c in self.classes),
            colors=tuple(c.color or _spread_color(i, count) for i, c in enumerate(self.classes)),
            file_ids=self.file_ids,
            void_ids=self.void or (VOID,),
        )


@dataclass(frozen=True)
class Folder(Pairs):
    """Sample names are paths below the image folder, the part under the pattern's star."""

    root: Path
    spec: FolderSpec
    labels: LabelTable
    name: str = "folder"

    def splits(self) -> tuple[str, ...]:
        return tuple(self.spec.splits)

    def listing(self, split: str) -> Listing:
        if split not in self.spec.splits:
            raise self.no_such_split(split)
        folders, patterns = self.spec.splits[split], self.spec.patterns
        images = _matching(folder_at(self.root, folders.images, "this data set"), patterns.image)
        if folders.labels is None:
            return Listing(images)
        labels = folder_at(self.root, folders.labels, "this data set")
        return Listing(images, _matching(labels, patterns.label))


def folder_from_toml(root: Path, classes: Path) -> Folder:
    """The data set at `root` that the file `classes` describes.

    Raises `RecipeError` that names everything that is wrong in the file.
    """
    values = read_toml(classes, "class list")
    try:
        spec = FolderSpec.model_validate(values)
    except ValidationError as error:
        raise RecipeError(
            f"class list {classes} is not valid: {problems(error, FolderSpec)}"
        ) from error
    return Folder(root, spec, spec.table())


def _matching(folder: Path, pattern: str) -> dict[str, Path]:
    before, after = pattern.split("*")
    names = {}
    for path in folder.rglob(pattern):
        stem = path.name[len(before) : len(path.name) - len(after)]
        names[path.relative_to(folder).with_name(stem).as_posix()] = path
    return names


def _twice(values: tuple[int, ...] | list[str]) -> set[int | str]:
    return {value for value in values if values.count(value) > 1}  # type: ignore[arg-type]


def _spread_color(index: int, count: int) -> Color:
    """Hues spread evenly, every second one darker."""
    red, green, blue = colorsys.hsv_to_rgb(index / count, 0.75, 0.95 if index % 2 else 0.65)
    return round(255 * red), round(255 * green), round(255 * blue)
