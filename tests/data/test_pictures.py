"""Decoding: right values, and a clear answer to every kind of broken file."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from artoolkit.data.pictures import read_rgb, read_size, read_train_ids, write_png
from artoolkit.errors import DataError, StorageError
from artoolkit.labels import LabelTable

TABLE = LabelTable(
    name="toy",
    names=("road", "car"),
    colors=((1, 2, 3), (4, 5, 6)),
    file_ids=(7, 26),
    void_ids=(0, 255),
)


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


def test_sixteen_bit_images_are_refused_rather_than_clipped(tmp_path):
    path = tmp_path / "deep.png"
    Image.fromarray(np.full((4, 4), 3000, np.uint16)).save(path)
    with pytest.raises(DataError, match=r"deep\.png has wide pixels; got mode I;16"):
        read_rgb(path)


def test_label_ids_become_train_ids(tmp_path):
    path = tmp_path / "a.png"
    write_png(np.array([[0, 7, 26], [255, 26, 7]], np.uint8), path)
    expected = [[255, 0, 1], [255, 1, 0]]
    assert read_train_ids(path, TABLE).tolist() == expected


def test_palette_labels_are_read_by_index_not_by_colour(tmp_path):
    path = tmp_path / "voc.png"
    picture = Image.fromarray(np.array([[0, 7], [26, 7]], np.uint8), mode="L")
    indexed = Image.new("P", picture.size)
    indexed.putpalette([channel for i in range(256) for channel in (255 - i, i, 3)])
    indexed.putdata(list(picture.tobytes()))
    indexed.save(path)
    assert read_train_ids(path, TABLE).tolist() == [[255, 0], [1, 0]]


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
def test_wide_labels_are_read_and_their_wide_ids_are_not_wrapped(tmp_path, dtype):
    path = tmp_path / "wide.tiff"
    Image.fromarray(np.array([[7, 26]], dtype)).save(path)
    assert read_train_ids(path, TABLE).tolist() == [[0, 1]]
    Image.fromarray(np.array([[7, 256 + 26]], dtype)).save(path)
    with pytest.raises(DataError, match="got id 282"):
        read_train_ids(path, TABLE)


def test_ids_out_of_range_are_named_with_the_file_and_what_is_allowed(tmp_path):
    path = tmp_path / "bad.png"
    write_png(np.array([[3, 7, 40]], np.uint8), path)
    with pytest.raises(DataError, match=r"bad\.png .* got id 3, 40; expected 0, 7, 26, 255"):
        read_train_ids(path, TABLE)


def test_a_colour_picture_is_no_label_map(tmp_path, image):
    path = tmp_path / "color.png"
    write_png(image, path)
    with pytest.raises(DataError, match=r"color\.png is not a label map; got mode RGB"):
        read_train_ids(path, TABLE)


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


@pytest.mark.parametrize("content", [b"", b"not a picture"])
def test_what_is_no_picture_is_named(tmp_path, content):
    path = tmp_path / "text.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"text\.png cannot be read"):
        read_size(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.png does not exist"):
        read_rgb(tmp_path / "gone.png")


def test_writing_below_a_file_is_a_storage_error(tmp_path, image):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        write_png(image, tmp_path / "file" / "a.png")
