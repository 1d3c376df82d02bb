"""Decoding: right values, and a clear answer to every kind of broken file."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from artoolkit.data.image_files import inspect_image, read_rgb, read_size, write_png
from artoolkit.errors import DataError, StorageError


def test_png_keeps_every_pixel(tmp_path, image):
    write_png(image, tmp_path / "deep" / "a.png")
    assert np.array_equal(read_rgb(tmp_path / "deep" / "a.png"), image)
    assert read_size(tmp_path / "deep" / "a.png") == (6, 8)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "CMYK", "1"])
def test_other_colour_modes_are_expanded_to_rgb(tmp_path, image, mode):
    path = tmp_path / "a.tiff"
    Image.fromarray(image).convert(mode).save(path)
    pixels = read_rgb(path)
    assert pixels.shape == (6, 8, 3)
    assert pixels.dtype == np.uint8


def png(depth: int, kind: int, channels: int, *, size: int = 2, behind: bytes = b"") -> bytes:
    """A PNG of 12 bits in 16, or of 8, with 2 x 2 pixels; `behind`: EXIF after them."""

    def chunk(name: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + checksum

    row = b"\0" + (b"\x0f\xff" if depth == 16 else b"\x7f") * channels * 2
    header = struct.pack(">IIBBBBB", size, size, depth, kind, 0, 0, 0)
    exif = chunk(b"eXIf", behind) if behind else b""
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row * 2))
        + exif + chunk(b"IEND", b"")
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)], ids=["grey", "rgb", "grey+a", "rgb+a"]
)
@pytest.mark.parametrize("read", [read_rgb, inspect_image])
def test_sixteen_bit_images_are_refused_rather_than_black(tmp_path, kind, channels, read):
    path = tmp_path / "deep.png"
    path.write_bytes(png(16, kind, channels))
    with pytest.raises(DataError, match=r"deep\.png has wide pixels; got mode"):
        read(path)
    path.write_bytes(png(8, kind, channels))
    assert read_rgb(path).tolist() == [[[127] * 3] * 2] * 2


@pytest.mark.parametrize("ending", ["tiff", "ppm"])
def test_other_files_of_sixteen_bits_are_refused(tmp_path, ending):
    cv2 = pytest.importorskip("cv2")
    path = tmp_path / f"deep.{ending}"
    cv2.imwrite(str(path), np.full((16, 16, 3), 0x0FFF, np.uint16))
    with pytest.raises(DataError, match="wide pixels; got mode RGB of 16 bits"):
        read_rgb(path)


def test_a_file_that_says_how_many_bits_it_uses_is_scaled(tmp_path):
    path = tmp_path / "twelve.ppm"
    path.write_bytes(b"P6 2 1 4095\n" + b"\x0f\xff" * 6)
    assert read_rgb(path).tolist() == [[[255] * 3] * 2]


FORMATS = [("JPEG", {"quality": 100, "subsampling": 0}), ("PNG", {}), ("TIFF", {}),
           ("TIFF", {"compression": "tiff_lzw"}), ("WEBP", {"lossless": True})]  # fmt: skip


@pytest.mark.parametrize(("kind", "options"), FORMATS, ids=str)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_read_as_it_is_shown(tmp_path, kind, options, orientation):
    stored = np.kron(np.arange(6, dtype=np.uint8).reshape(2, 3) * 40, np.ones((16, 16), np.uint8))
    exif = Image.Exif()
    exif[0x112] = orientation
    path = tmp_path / "a.img"
    Image.fromarray(stored).convert("RGB").save(path, kind, exif=exif, **options)
    # The EXIF standard: which corner of what is shown the first row and column are.
    upright = {
        1: stored, 2: stored[:, ::-1], 3: stored[::-1, ::-1], 4: stored[::-1],
        5: stored.T, 6: stored.T[:, ::-1], 7: stored.T[::-1, ::-1], 8: stored.T[::-1],
    }[orientation]  # fmt: skip
    pixels = read_rgb(path)
    assert pixels.shape[:2] == upright.shape == read_size(path)
    assert np.abs(pixels[..., 0].astype(int) - upright).max() <= 2
    assert inspect_image(path) == (upright.shape, orientation)


def test_an_orientation_behind_the_pixels_is_refused_everywhere(tmp_path):
    path = tmp_path / "a.png"
    exif = Image.Exif()
    exif[0x112] = 6
    path.write_bytes(png(8, 2, 3, behind=exif.tobytes()[6:]))
    for read in (read_rgb, inspect_image):
        with pytest.raises(DataError, match="states its EXIF orientation behind its pixels"):
            read(path)


@pytest.mark.parametrize("content", [b"Exif\0\0II*\0", b"Exif\0\0nonsense", b"\0" * 40])
@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_leaves_an_image_as_it_is(tmp_path, image, content):
    path = tmp_path / "a.png"
    Image.fromarray(image).save(path, exif=content)
    assert np.array_equal(read_rgb(path), image)
    assert inspect_image(path) == ((6, 8), 1)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
@pytest.mark.parametrize("share", [0.05, 0.4, 0.9])
def test_an_inspection_finds_a_truncated_file(tmp_path, kind, share):
    path = tmp_path / "cut.img"
    content = encoded(kind)
    path.write_bytes(content)
    assert inspect_image(path) == ((40, 40), 1)
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=r"cut\.img cannot be read"):
        inspect_image(path)


def test_an_inspection_that_decodes_finds_a_flipped_byte(tmp_path):
    content = bytearray(encoded("PNG"))
    content[len(content) // 2] ^= 1
    path = tmp_path / "a.png"
    path.write_bytes(content)
    assert inspect_image(path) == ((40, 40), 1)
    with pytest.raises(DataError, match=r"a\.png cannot be read"):
        inspect_image(path, decode=True)


def encoded(kind: str) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("share", [0.05, 0.4, 0.9])
def test_a_truncated_file_is_named(tmp_path, kind, share):
    path = tmp_path / "cut.img"
    content = encoded(kind)
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=r"cut\.img cannot be read"):
        read_rgb(path)


@given(position=st.integers(0, 10_000), value=st.integers(1, 255))
def test_a_flipped_byte_gives_a_picture_or_a_data_error_and_nothing_else(
    tmp_path_factory, position, value
):
    content = bytearray(encoded("PNG"))
    content[position % len(content)] ^= value
    path = tmp_path_factory.mktemp("flip") / "a.png"
    path.write_bytes(content)
    try:
        pixels = read_rgb(path)
    except DataError as error:
        assert "a.png" in str(error)
    else:
        assert pixels.dtype == np.uint8


def saved(path, pixels, kind, mode="RGB", **options):
    Image.fromarray(pixels).convert(mode).save(path, kind, **options)
    return path


def turned(orientation=6):
    exif = Image.Exif()
    exif[0x112] = orientation
    return exif


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="6"/>'


@pytest.mark.parametrize(
    ("kind", "options"),
    [("MPO", {"save_all": True, "exif": turned()}), ("JPEG", {"xmp": XMP, "quality": 100}),
     ("WEBP", {"xmp": XMP, "lossless": True}), ("JPEG", {"progressive": True, "exif": turned()}),
     ("PNG", {"exif": turned(), "save_all": True})],
)  # fmt: skip
def test_other_ways_to_state_an_orientation(tmp_path, kind, options):
    stored = np.kron(np.arange(6, dtype=np.uint8).reshape(2, 3) * 40, np.ones((16, 16), np.uint8))
    path = saved(tmp_path / "a.img", stored, kind, **options)
    pixels = read_rgb(path)
    assert np.abs(pixels[..., 0].astype(int) - stored.T[:, ::-1]).max() <= 3
    assert read_size(path) == pixels.shape[:2]
    assert inspect_image(path) == (pixels.shape[:2], 6)


@pytest.mark.parametrize("orientation", [0, 9, 255])
def test_an_orientation_that_is_none_turns_nothing(tmp_path, image, orientation):
    path = saved(tmp_path / "a.png", image, "PNG", exif=turned(orientation))
    assert np.array_equal(read_rgb(path), image)
    assert inspect_image(path) == ((6, 8), 1)


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [("PNG", "P", {"transparency": bytes(range(64))}), ("PNG", "P", {"transparency": 3}),
     ("GIF", "P", {"transparency": 3}), ("PNG", "LA", {}), ("JPEG", "CMYK", {"quality": 100}),
     ("TIFF", "LAB", {}), ("TIFF", "YCbCr", {}), ("WEBP", "RGBA", {"lossless": True})],
)  # fmt: skip
def test_colors_of_every_kind_become_rgb_of_the_file(tmp_path, kind, mode, options):
    flat = Image.new("RGB", (16, 16), (200, 40, 90))
    (flat.quantize(4) if mode == "P" else flat.convert(mode)).save(tmp_path / "a", kind, **options)
    pixels = read_rgb(tmp_path / "a")
    expected = (94, 94, 94) if mode == "LA" else (200, 40, 90)  # its luma
    assert np.abs(pixels.astype(int) - expected).max() <= 4


def test_the_first_of_several_images_in_a_file_is_read(tmp_path, image):
    for kind in ("TIFF", "PNG", "WEBP"):
        path = tmp_path / "many.img"
        more = [Image.fromarray(image[::-1])]
        Image.fromarray(image).save(path, kind, save_all=True, append_images=more,
                                    **({"lossless": True} if kind == "WEBP" else {}))  # fmt: skip
        assert np.array_equal(read_rgb(path), image)


@pytest.mark.parametrize("read", [read_rgb, inspect_image, read_size])
def test_postscript_is_not_run_whatever_its_name(tmp_path, image, read):
    path = saved(tmp_path / "a.png", image, "EPS")
    with pytest.raises(DataError, match=r"a\.png is no image of pixels; got EPS"):
        read(path)


@pytest.mark.parametrize("read", [read_rgb, inspect_image, read_size])
def test_an_image_of_too_many_pixels_is_refused_by_its_header(tmp_path, read):
    path = tmp_path / "a.png"
    path.write_bytes(png(8, 0, 1, size=60_000))
    with pytest.raises(DataError, match=r"a\.png is too large; expected at most"):
        read(path)


@pytest.mark.parametrize("kind", ["BMP", "WEBP", "PPM", "GIF", "TIFF"])
def test_an_inspection_finds_the_end_of_other_kinds_missing(tmp_path, image, kind):
    path = saved(tmp_path / "a.img", np.tile(image, (8, 8, 1)), kind)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="cannot be read"):
        inspect_image(path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_bytes_behind_an_image_are_no_damage(tmp_path, image, kind):
    path = saved(tmp_path / "a.img", image, kind)
    path.write_bytes(path.read_bytes() + b"more" * 3000)
    assert inspect_image(path)[0] == read_rgb(path).shape[:2]


@pytest.mark.parametrize("content", [b"", b"not a picture"])
def test_what_is_no_picture_is_named(tmp_path, content):
    path = tmp_path / "text.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"text\.png cannot be read"):
        read_size(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no image at .*gone\.png"):
        read_rgb(tmp_path / "gone.png")


def test_writing_below_a_file_is_a_storage_error(tmp_path, image):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        write_png(image, tmp_path / "file" / "a.png")
