"""Image files <-> numpy arrays; what cannot be read is a `DataError` that names the file.

The only place where image files are opened: `label_files.py` reads labels through `opened`. An
image is read as a viewer shows it, so its EXIF orientation is applied. Reading is what the loader
and every evaluation pay: each function decodes once and copies once. The arrays are read-only, as
Pillow hands them out; copy before writing into one.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile

from artoolkit.errors import DataError
from artoolkit.evidence.seal import write_atomically
from artoolkit.files import reading

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm")
# What is decoded here: Pillow knows more, among them PostScript, which runs another program.
_KINDS = frozenset({"PNG", "JPEG", "MPO", "BMP", "DIB", "WEBP", "TIFF", "PPM", "GIF", "JPEG2000",
                    "AVIF"})  # fmt: skip
WIDE_MODES = ("I", "I;16", "I;16B", "I;16L")
# What Pillow's decoders raise on broken files, beside OSError.
_BROKEN = (
    OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error,
    Image.DecompressionBombError,
)  # fmt: skip
_ORIENTATION, _TIFF_WIDTH, _TIFF_HEIGHT = 0x112, 256, 257  # tags of EXIF and TIFF
# What brings an image of each EXIF orientation upright; 1 is upright.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)
_JPEG_END, _TAIL_BYTES = b"\xff\xd9", 4096


@contextmanager
def opened(path: Path, what: str) -> Iterator[ImageFile]:
    """The file opened by Pillow; whatever is wrong with it is a `DataError`."""
    with (
        reading(path, DataError, what=what, hint="Fetch the file again or remove it."),
        _recognized(path, what) as image,
    ):
        yield image


def _recognized(path: Path, what: str) -> ImageFile:
    try:
        image = Image.open(path)
    except Image.DecompressionBombError as error:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise DataError(f"{what} {path} is too large", expected=f"at most {most:,} pixels",
                        hint="Cut it into tiles.") from error  # fmt: skip
    if image.format not in _KINDS:
        image.close()
        raise DataError(f"{what} {path} is no image of pixels", got=image.format)
    return image


def read_size(path: Path, what: str = "image") -> tuple[int, int]:
    """Height and width in pixels as the image is shown, from the file's header only."""
    with opened(path, what) as image:
        return _shown_size(image)


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """uint8 RGB H x W x 3 of any image with 8 bits a channel, as it is shown.

    Grey and palettes are expanded. Raises `DataError` if the file is missing, truncated, no image,
    or has wider channels: only the high byte of those is decoded, which is black for 12-bit values.
    """
    with opened(path, "image") as image:
        _require_bytes(image, path)
        shown = upright(image, f"image {path}")
        shown.info.pop("transparency", None)  # of a palette; alpha counts for no other image either
        return np.asarray(shown if shown.mode == "RGB" else shown.convert("RGB"))


def upright(image: Image.Image, what: str) -> Image.Image:
    """The decoded image as it is shown, in its own mode."""
    stated = _orientation(image)
    image.load()
    # A TIFF is turned by Pillow itself, which then states no orientation any more.
    turn = _TURNS.get(orientation := _orientation(image))
    if turn is None:
        return image
    if orientation != stated:
        raise DataError(
            f"{what} states its EXIF orientation behind its pixels, which many programs overlook",
            got=orientation,
            hint="Write it upright.",
        )
    return image.transpose(turn)


def inspect_image(path: Path, *, decode: bool = False) -> tuple[tuple[int, int], int]:
    """Height and width as shown, and the EXIF orientation (1: upright).

    Raises `DataError` for what `read_rgb` refuses, except for damage inside the pixels of a PNG or
    JPEG: of these only the header and the end are looked at, and where the end is missing, and for
    other kinds, the file is decoded to be sure. With `decode` every file is.
    """
    with opened(path, "image") as image:
        kind, size, orientation = image.format, _shown_size(image), _orientation(image)
        _require_bytes(image, path)
    has_end = {"PNG": _ends_as_png, "JPEG": _ends_as_jpeg}.get(kind or "")
    if not decode and has_end is not None:
        with path.open("rb") as file:
            decode = not has_end(file)
    if decode or has_end is None:
        read_rgb(path)
    return size, orientation if orientation in _TURNS else 1


def write_png(pixels: NDArray[np.uint8], path: Path) -> None:
    """Write uint8 H x W (ids) or H x W x 3 (RGB) as PNG, atomically; folders are made.

    Raises `StorageError` if it cannot be written. Fast compression: label maps shrink anyway.
    """
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, format="PNG", compress_level=1)
    write_atomically(path, content.getvalue())


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 where none is stated; broken EXIF is ignored, as viewers do."""
    # Pillow would decode a whole PNG to look for EXIF behind its pixels.
    if image.format == "PNG" and not {
        "exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"
    } & image.info.keys():  # fmt: skip
        return 1
    try:
        stated = image.getexif().get(_ORIENTATION, 1)
    except _BROKEN:
        return 1
    return stated if isinstance(stated, int) else 1


def _shown_size(image: Image.Image) -> tuple[int, int]:
    width, height = image.size
    if tags := getattr(image, "tag_v2", None):  # Pillow has turned the size of some TIFF already
        width, height = tags[_TIFF_WIDTH], tags[_TIFF_HEIGHT]
    return (width, height) if _orientation(image) in _SIDEWAYS else (height, width)


def _require_bytes(image: ImageFile, path: Path) -> None:
    """`DataError` for an image with more than 8 bits a channel."""
    # An RGB file of 16 bits opens as "RGB": only its raw mode, such as RGB;16B, tells, or a PPM's
    # value for white.
    raw = str([tile[3] for tile in image.tile])
    if image.mode in (*WIDE_MODES, "F") or ";16" in raw or "65535" in raw:
        mode = image.mode if image.mode in (*WIDE_MODES, "F") else f"{image.mode} of 16 bits"
        raise DataError(
            f"image {path} has wide pixels",
            got=f"mode {mode}",
            expected="8 bits a channel",
            hint="Nothing in the file says how many of its bits are used: scale it to 0-255.",
        )


def _ends_as_png(file: IO[bytes]) -> bool:
    """True if chunk after chunk leads to IEND, with no EXIF behind the pixels."""
    file.seek(8)
    seen_pixels = False
    while len(head := file.read(8)) == 8:
        if head[4:] == b"IEND":
            return seen_pixels and len(file.read(4)) == 4
        if head[4:] == b"eXIf" and seen_pixels:
            return False
        seen_pixels = seen_pixels or head[4:] == b"IDAT"
        file.seek(int.from_bytes(head[:4], "big") + 4, io.SEEK_CUR)  # the content, its checksum
    return False


def _ends_as_jpeg(file: IO[bytes]) -> bool:
    """True if the last bytes hold the marker of a JPEG's end; some cameras write more behind it."""
    file.seek(0, io.SEEK_END)
    file.seek(max(0, file.tell() - _TAIL_BYTES))
    return _JPEG_END in file.read()
