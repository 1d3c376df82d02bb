"""Label files -> train ids: the only place that says what a pixel of a label file means.

`read_train_ids` is what training and evaluation read; `inspect_label` tells `data check` everything
about a file at once, by the same rules. Files are opened by `image_files.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile

from artoolkit.data.image_files import WIDE_MODES, opened, upright
from artoolkit.errors import DataError
from artoolkit.labels import MAX_CLASSES, VOID, Color, LabelTable

LabelsBy = Literal["auto", "id", "color"]
UNKNOWN = MAX_CLASSES  # one more than the last train id there can be
BLACK: Color = (0, 0, 0)
_LOSSY = {"JPEG": "a JPEG", "MPO": "a JPEG", "AVIF": "an AVIF"}
# Of the changes along a row, how many are a single pixel between its neighbours' values: at most
# 0.07 in drawn labels of CamVid and of generated streets, also at an eighth of the size; at least
# 0.29 in the same ones after JPEG or bilinear resizing by 0.5 to 4. Fewer pixels prove nothing.
SLIVER_SHARE, SLIVER_PIXELS = 0.15, 20
# Lines that are looked at closely: more say the same, at the price of a second pass.
_SOME_LINES = 32
_DISTINCT_RUNS = 20  # labels of fewer runs look alike by chance


@dataclass(frozen=True)
class LabelForm:
    """Form of the label files of a data set.

    `by` "id": the numbers of a single-channel file are ids. "color": every pixel's color is looked
    up in the table, and `void_colors` are void. "auto": numbers, except where a file's palette
    holds the table's own colors in another order, which is then taken by color.
    `refuses_train_ids`: no file ever holds 255, so one of train ids alone has a wrong name.
    """

    table: LabelTable
    by: LabelsBy = "auto"
    void_colors: tuple[Color, ...] = (BLACK,)
    refuses_train_ids: bool = False


@dataclass(frozen=True)
class LabelFacts:
    """One label file: height and width, pixels by train id (255 void), the ids in the file.

    `note` says how it was read where that is not by number; `digest` is equal for equal labels of
    some detail and 0 for plain ones; `has_slivers`: borders hold values that nobody drew.
    """

    size_hw: tuple[int, int]
    counts: NDArray[np.int64]
    ids: frozenset[int]
    note: str
    digest: int
    has_slivers: bool
    problems: tuple[str, ...]


@dataclass(frozen=True)
class _Stored:
    """A file's pixels as bytes, what each byte means (`lut`), and its color where that counts."""

    pixels: Image.Image
    lut: bytes
    colors: tuple[Color, ...] = ()
    note: str = ""


def read_train_ids(path: Path, form: LabelForm) -> NDArray[np.uint8]:
    """uint8 train ids H x W, 255 void, of a label file.

    Raises `DataError` if the file cannot be read, was JPEG-compressed, has several channels that
    are not to be read by color, or holds ids or colors that are neither a class nor void (all are
    named).
    """
    with opened(path, "label") as image:
        stored = _stored(image, path, form)
        # Pillow maps bytes through a table in a third of numpy's time; an unknown id becomes 254,
        # so that looking for one byte replaces a histogram.
        labels: NDArray[np.uint8] = np.asarray(stored.pixels.point(list(stored.lut)))
        if (labels == UNKNOWN).any():
            raise _unknown(path, form, stored, np.flatnonzero(stored.pixels.histogram()))
        # A histogram takes half as long as decoding: only where the largest id is suspicious.
        if form.refuses_train_ids and np.asarray(stored.pixels).max() == VOID:
            ids = np.flatnonzero(stored.pixels.histogram())
            if misnamed := _misnamed(path, form, ids):
                raise misnamed
        return labels


def inspect_label(path: Path, form: LabelForm) -> LabelFacts:
    """All about a label file; what `read_train_ids` would raise is among the problems.

    Raises `DataError` only where the file is no image that can be decoded.
    """
    with opened(path, "label") as image:
        size_hw = (image.height, image.width)
        try:
            stored = _stored(image, path, form)
        except DataError as error:
            nothing = np.zeros(256, np.int64)
            return LabelFacts(size_hw, nothing, frozenset(), "", 0, False, (str(error),))
        pixels = np.asarray(stored.pixels)
    found, runs = _counted(pixels)
    some = pixels[:: max(1, pixels.shape[0] // _SOME_LINES)]
    looks = (pixels.shape, found.tobytes(), some.tobytes())
    ids, lut = np.flatnonzero(found), np.frombuffer(stored.lut, np.uint8)
    unknown = _unknown(path, form, stored, ids) if (lut[ids] == UNKNOWN).any() else None
    problems = (unknown, _misnamed(path, form, ids))
    return LabelFacts(
        size_hw=(pixels.shape[0], pixels.shape[1]),
        counts=np.bincount(lut, weights=found, minlength=256).astype(np.int64),
        ids=frozenset() if stored.colors else frozenset(ids.tolist()),
        note=stored.note,
        digest=hash(looks) if runs >= _DISTINCT_RUNS else 0,
        has_slivers=not stored.colors and _has_slivers(pixels, some),
        problems=tuple(str(problem) for problem in problems if problem),
    )


def _stored(image: ImageFile, path: Path, form: LabelForm) -> _Stored:
    """The file's pixels and their meaning; `DataError` for what is no label map."""
    if image.format in _LOSSY or image.info.get("compression") == "jpeg":  # the latter in TIFF
        raise DataError(
            f"label {path} is {_LOSSY.get(image.format or '', 'a JPEG inside another file')}: "
            "the compression changed its ids along every border",
            expected="a lossless file such as PNG, made from what was drawn",
        )
    if image.format == "GIF" and form.by != "color":
        raise DataError(f"label {path} is a GIF, whose writers renumber what they write",
                        expected="PNG")  # fmt: skip
    raw = str([tile[3] for tile in image.tile])
    shown = upright(image, f"label {path}")
    if form.by == "color":
        return _by_color(shown, path, form)
    if shown.mode == "P":  # the palette's indices are the ids, as in Pascal VOC
        stored = _by_permuted_palette(shown, form) if form.by == "auto" else None
        stored = stored or _Stored(_indices(shown), train_id_lut(form.table))
    elif shown.mode in WIDE_MODES:
        stored = _Stored(_narrowed(np.asarray(shown), path, form), train_id_lut(form.table))
    elif shown.mode == "1":
        stored = _one_bit(shown, form.table)
    elif shown.mode != "L" or ";2" in raw or ";4" in raw:
        bits = "" if shown.mode != "L" else " of 2 or 4 bits, where 1 may stand for another id"
        raise DataError(
            f"label {path} is not a label map",
            got=f"mode {shown.mode}{bits}",
            expected="one channel of class ids, 8 bits each",
            hint='Colors are read where classes.toml says labels_by = "color".' if not bits else "",
        )
    else:
        stored = _Stored(shown, train_id_lut(form.table))
    return stored


def train_id_lut(table: LabelTable) -> bytes:
    """256 bytes: file id -> train id, 255 for void, 254 for an id the table does not know."""
    lut = np.full(256, UNKNOWN, np.uint8)
    lut[list(table.void_ids)] = VOID
    lut[list(table.file_ids)] = np.arange(table.num_classes)
    return lut.tobytes()


def _one_bit(shown: Image.Image, table: LabelTable) -> _Stored:
    """White is id 1 where the table has one, else 255: programs that write masks do either."""
    lut = train_id_lut(table)
    white = 1 if lut[1] != UNKNOWN else VOID
    meaning = bytes([lut[0], *[UNKNOWN] * 254, lut[white]])
    return _Stored(shown.convert("L"), meaning, note=f"of 1 bit: white is read as id {white}")


def _by_permuted_palette(shown: Image.Image, form: LabelForm) -> _Stored | None:
    """The file by its palette's colors, where they are the table's and say other than the numbers.

    None for every other palette (Pascal VOC's, a ramp of grey), whose colors mean nothing.
    """
    table, by_id = form.table, train_id_lut(form.table)
    classes = {color: train_id for train_id, color in enumerate(table.colors)}
    colors = _palette(shown)
    known = [c in classes and c != (i, i, i) for i, c in enumerate(colors)]
    foreign = {c for c, is_known in zip(colors, known, strict=True)
               if not is_known and len(set(c)) > 1}  # fmt: skip
    first = {c: i for i, c in reversed([*enumerate(colors)]) if known[i]}
    agrees = all(by_id[i] == classes[c] for c, i in first.items())
    if agrees or len(classes) < table.num_classes or len(foreign) > len(table.void_ids):
        return None
    lut = _color_lut(colors, form)
    lut = [VOID if lut[i] == UNKNOWN and by_id[i] == VOID else lut[i] for i in range(256)]
    note = "whose palette has the classes' colors in another order: read by color"
    return _Stored(_indices(shown), bytes(lut), colors, note)


def _by_color(shown: Image.Image, path: Path, form: LabelForm) -> _Stored:
    if shown.mode == "P":
        colors = _palette(shown)
        return _Stored(_indices(shown), bytes(_color_lut(colors, form)), colors)
    rgb = np.asarray(shown.convert("RGB")).astype(np.int32)
    codes = (rgb[..., 0] << 16) | (rgb[..., 1] << 8) | rgb[..., 2]
    labels = _lut_of_all_colors(form)[codes]
    if (labels == UNKNOWN).any():
        unknown = np.unique(codes[labels == UNKNOWN]).tolist()
        raise _unknown_colors(path, form, [(c >> 16, c >> 8 & 255, c & 255) for c in unknown])
    meaning = bytes([*range(form.table.num_classes), *[VOID] * (256 - form.table.num_classes)])
    return _Stored(Image.fromarray(labels), meaning, form.table.colors)


def _indices(shown: Image.Image) -> Image.Image:
    return Image.frombytes("L", shown.size, shown.tobytes())


def _palette(shown: Image.Image) -> tuple[Color, ...]:
    """256 colors; black behind the file's own."""
    flat = [*(shown.getpalette("RGB") or ()), *[0] * 768][:768]
    return tuple(zip(flat[::3], flat[1::3], flat[2::3], strict=True))


def _meanings(form: LabelForm) -> dict[Color, int]:
    """Train ids by color; a class goes before void."""
    classes = {color: train_id for train_id, color in enumerate(form.table.colors)}
    return dict.fromkeys(form.void_colors, VOID) | classes


def _color_lut(colors: tuple[Color, ...], form: LabelForm) -> list[int]:
    meanings = _meanings(form)
    return [meanings.get(color, UNKNOWN) for color in colors]


@lru_cache(maxsize=2)  # 16 MiB each
def _lut_of_all_colors(form: LabelForm) -> NDArray[np.uint8]:
    lut = np.full(1 << 24, UNKNOWN, np.uint8)
    for (red, green, blue), train_id in _meanings(form).items():
        lut[red << 16 | green << 8 | blue] = train_id
    return lut


def _narrowed(wide: NDArray[Any], path: Path, form: LabelForm) -> Image.Image:
    """Labels that a tool wrote with 16 or 32 bits an id."""
    if wide.min() < 0 or wide.max() > VOID:
        raise _unknown_ids(path, form.table, np.unique(wide))
    return Image.fromarray(wide.astype(np.uint8))


def _misnamed(path: Path, form: LabelForm, ids: NDArray[Any]) -> DataError | None:
    """The error of a file of train ids alone under the name of label ids."""
    is_one = form.refuses_train_ids and VOID in ids
    if not is_one or ids[ids != VOID].max(initial=0) >= form.table.num_classes:
        return None
    return DataError(
        f"label {path} holds train ids under the name of {form.table.name}'s label ids",
        got=f"nothing but {_ranges(ids.tolist())}",
        hint="Rename such files to ..._gtFine_labelTrainIds.png.",
    )


def _counted(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float64], int]:
    """Pixels by id, and the number of runs of one id or of a mixture.

    Labels are smooth, so runs of four equal pixels are counted, in a sixth of the decoding's time;
    a plain count of uint8 takes as long as decoding.
    """
    flat = pixels.ravel()
    words = flat[: flat.size // 4 * 4].view(np.uint32)
    ends = np.flatnonzero(words[1:] != words[:-1])
    bounds = np.concatenate(([-1], ends, [words.size - 1]))
    values = words[bounds[1:]] if words.size else words
    lengths = np.diff(bounds)[: values.size].astype(float)
    found = np.bincount(flat[words.size * 4 :], minlength=256).astype(float)
    for ids in values.view(np.uint8).reshape(-1, 4).T:
        found += np.bincount(ids, weights=lengths, minlength=256)
    return found, values.size


def _has_slivers(pixels: NDArray[np.uint8], some: NDArray[np.uint8]) -> bool:
    """True if single pixels between their neighbors' values line the borders, along either axis."""
    step, row = max(1, pixels.shape[0] // _SOME_LINES), some.ravel()
    for before, here, behind in (
        (row[:-2], row[1:-1], row[2:]),
        (pixels[:-2:step], pixels[1:-1:step], pixels[2::step]),
    ):
        between = ((before < here) & (here < behind)) | ((before > here) & (here > behind))
        found = np.count_nonzero(between)
        if found >= SLIVER_PIXELS and found > SLIVER_SHARE * np.count_nonzero(before != here):
            return True
    return False


def _unknown(path: Path, form: LabelForm, stored: _Stored, values: NDArray[Any]) -> DataError:
    """Stored `values` without a meaning, by number or by color."""
    if not stored.colors:
        return _unknown_ids(path, form.table, values)
    unknown = [i for i in values.tolist() if stored.lut[i] == UNKNOWN]
    return _unknown_colors(path, form, [stored.colors[i] for i in unknown])


def _unknown_ids(path: Path, table: LabelTable, ids: NDArray[Any]) -> DataError:
    unknown = table.unknown_ids(int(i) for i in ids)
    listed = ", ".join(map(str, unknown[:10])) + (" ..." if len(unknown) > 10 else "")
    return DataError(
        f"label {path} holds ids that {table.name} does not have",
        got=f"id {listed}",
        expected=f"{_ranges((*table.file_ids, *table.void_ids))}",
        # As many as no list of classes forgets.
        hint="Were the labels resized, or saved as JPEG before?" if len(unknown) > 10 else None,
    )


def _unknown_colors(path: Path, form: LabelForm, colors: list[Color]) -> DataError:
    listed = ", ".join(map(str, colors[:5])) + (" ..." if len(colors) > 5 else "")
    return DataError(
        f"label {path} holds colors that {form.table.name} does not have",
        got=listed,
        hint="Give each to a class, or list it in void_colors of classes.toml.",
    )


def _ranges(ids: tuple[int, ...] | list[int]) -> str:
    """0, 1, 2, 5 -> '0-2, 5'."""
    known = np.unique(ids)
    runs = np.split(known, np.flatnonzero(np.diff(known) > 1) + 1)
    return ", ".join(f"{r[0]}-{r[-1]}" if len(r) > 1 else f"{r[0]}" for r in runs)
