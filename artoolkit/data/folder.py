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

    labels_by = "color"            # a pixel's color names its class ("id": its number)
    void_colors = [[0, 0, 0]]      # black by default, where labels are read by color

A label's numbers are its ids. Where nothing is said (labels_by = "auto"), a palette that holds the
classes' own colors in another order is read by color.

All mistakes of the file are reported at once.
"""

from __future__ import annotations

import colorsys
from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError, model_validator

from artoolkit.data.dataset import Pairs, folder_at
from artoolkit.data.image_files import IMAGE_ENDINGS
from artoolkit.data.label_files import BLACK, LabelForm, LabelsBy
from artoolkit.data.listing import Files, Listing, find_files, on_this_system
from artoolkit.errors import RecipeError
from artoolkit.labels import MAX_CLASSES, VOID, Color, LabelTable
from artoolkit.spec import Frozen, problems, read_toml


def _one_star(pattern: str) -> str:
    if pattern.count("*") != 1 or "/" in pattern or set(pattern) & set("?[]"):
        raise ValueError("a pattern is a file name with exactly one *")
    return pattern


Pattern = Annotated[str, AfterValidator(_one_star)]
Id = Annotated[int, Field(ge=0, le=255)]
_STATED, _OFF = "take it out of void", "say void = [] where no id means void"


class FolderClass(Frozen):
    """One class of the list."""

    name: str = Field(min_length=1)
    color: Color | None = None
    id: Id | None = None


class FolderSplit(Frozen):
    """Folders of a split."""

    images: str
    labels: str | None = None


class Patterns(Frozen):
    """Patterns by which a file name holds the sample's name."""

    image: Pattern = "*.png"
    label: Pattern = "*.png"


class FolderSpec(Frozen):
    """The whole `classes.toml`."""

    name: str = "folder"
    void: tuple[Id, ...] = (VOID,)
    classes: tuple[FolderClass, ...] = Field(min_length=1, max_length=MAX_CLASSES)
    splits: dict[str, FolderSplit] = Field(min_length=1)
    patterns: Patterns = Patterns()
    labels_by: LabelsBy = "auto"
    void_colors: tuple[Color, ...] = (BLACK,)

    @model_validator(mode="after")
    def _is_consistent(self) -> FolderSpec:
        ids, names = self.file_ids, [c.name for c in self.classes]
        way_out = _STATED if "void" in self.model_fields_set else _OFF
        both = sorted(set(ids) & set(self.void))
        wrong = [f"id {i} is both a class and void ({way_out})" for i in both]
        wrong += [f"id {i} stands for several classes" for i in sorted(_twice(ids))]
        wrong += [f"class {n!r} stands twice" for n in sorted(_twice(names))]
        if self.labels_by == "color":
            colors = [c.color for c in self.classes]
            wrong += [f"class {c.name!r} has no color to read labels by" for c in self.classes
                      if c.color is None]  # fmt: skip
            wrong += [f"color {c} stands for several classes" for c in _twice(colors) if c]
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
            void_ids=self.void,
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
        images = self._matching(folders.images, patterns.image)
        if folders.labels is None:
            return Listing(images)
        return Listing(images, self._matching(folders.labels, patterns.label))

    def form_of(self, label: Path) -> LabelForm:
        return LabelForm(self.labels, self.spec.labels_by, self.spec.void_colors)

    def _matching(self, inside: str, pattern: str) -> Files:
        folder = folder_at(self.root, on_this_system(inside).as_posix(), "this data set")
        ending = PurePath(pattern.replace("*", "_")).suffix
        # The same pattern with any ending of an image: what a person may take for samples.
        alike = pattern.removesuffix(ending)
        files = find_files(
            folder,
            lambda path: _sample_name(path, pattern),
            like=lambda path: (
                _sample_name(path.with_suffix(""), alike)
                if path.suffix.lower() in IMAGE_ENDINGS
                else None
            ),
        )
        endings = {path.suffix for path in files.paths.values()}
        if len(endings) < 2:
            return files
        remark = f"the pattern {pattern} takes files that end in {' and in '.join(sorted(endings))}"
        return replace(files, remarks=(*files.remarks, remark))


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


def _sample_name(path: PurePath, pattern: str) -> str | None:
    """The part of the path that stands for the pattern's star, below its folders."""
    before, after = pattern.split("*")
    name = path.name
    fits = name.startswith(before) and name.endswith(after)
    if not fits or len(name) < len(before) + len(after):
        return None
    folders = "" if path.parent == PurePath() else f"{path.parent.as_posix()}/"
    return folders + name[len(before) : len(name) - len(after)]


def _twice(values: Iterable[Hashable]) -> set[Any]:
    return {value for value, count in Counter(values).items() if count > 1}


def _spread_color(index: int, count: int) -> Color:
    """Hues spread evenly, every second one darker."""
    red, green, blue = colorsys.hsv_to_rgb(index / count, 0.75, 0.95 if index % 2 else 0.65)
    return round(255 * red), round(255 * green), round(255 * blue)
