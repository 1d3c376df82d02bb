"""What a pixel of a label file means: by number, by color, and what is refused."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from artoolkit.data.image_files import write_png
from artoolkit.data.label_files import LabelForm, inspect_label, read_train_ids
from artoolkit.errors import DataError
from artoolkit.labels import LabelTable

TABLE = LabelTable(
    name="toy",
    names=("road", "car"),
    colors=((128, 64, 128), (0, 0, 142)),
    file_ids=(7, 26),
    void_ids=(0, 255),
)
THREE = LabelTable(
    name="three",
    names=("a", "b", "c"),
    colors=((128, 64, 128), (220, 20, 60), (70, 70, 70)),
    file_ids=(0, 1, 2),
)
FORM = LabelForm(TABLE)


def palette_file(path: Path, ids: list[list[int]], colors: dict[int, tuple[int, ...]]) -> Path:
    array = np.array(ids, np.uint8)
    flat = [0] * 768
    for index, color in colors.items():
        flat[3 * index : 3 * index + 3] = color
    picture = Image.frombytes("P", array.shape[::-1], array.tobytes())
    picture.putpalette(flat)
    picture.save(path)
    return path


def test_label_ids_become_train_ids(tmp_path):
    path = tmp_path / "a.png"
    write_png(np.array([[0, 7, 26], [255, 26, 7]], np.uint8), path)
    assert read_train_ids(path, FORM).tolist() == [[255, 0, 1], [255, 1, 0]]


VOC = {i: ((i & 1) << 7, (i >> 1 & 1) << 7, (i >> 2 & 1) << 7) for i in range(8)} | {
    i: (i, 255 - i, 3) for i in range(8, 256)
}


@pytest.mark.parametrize(
    "colors",
    [VOC, {i: (i, i, i) for i in range(256)}, {7: (128, 64, 128), 26: (0, 0, 142)}],
    ids=["Pascal VOC's", "grey", "the table's"],
)
def test_palette_labels_are_read_by_index(tmp_path, colors):
    path = palette_file(tmp_path / "voc.png", [[0, 7], [26, 7]], colors)
    assert read_train_ids(path, FORM).tolist() == [[255, 0], [1, 0]]
    assert inspect_label(path, FORM).note == ""


@pytest.mark.parametrize("order", [(1, 2, 0), (2, 0, 1), (0, 2, 1)])
def test_the_tables_colors_in_another_order_are_read_by_color(tmp_path, order):
    colors = {index: THREE.colors[train_id] for index, train_id in enumerate(order)}
    path = palette_file(tmp_path / "p.png", [[0, 1, 2, 255]], colors)
    assert read_train_ids(path, LabelForm(THREE)).tolist() == [[*order, 255]]
    assert "read by color" in inspect_label(path, LabelForm(THREE)).note
    assert read_train_ids(path, LabelForm(THREE, by="id")).tolist() == [[0, 1, 2, 255]]


def test_a_palette_of_the_colors_that_occur_is_read_by_color(tmp_path):
    """As programs write it that leave out what they do not need: index 0 is class c."""
    path = palette_file(tmp_path / "p.png", [[0, 1]], {0: (70, 70, 70), 1: (220, 20, 60)})
    assert read_train_ids(path, LabelForm(THREE)).tolist() == [[2, 1]]


def test_a_void_of_the_users_own_color_stays_void_in_a_permuted_palette(tmp_path):
    colors = {0: THREE.colors[1], 1: THREE.colors[0], 2: THREE.colors[2], 255: (224, 224, 192)}
    path = palette_file(tmp_path / "p.png", [[0, 1, 255]], colors)
    assert read_train_ids(path, LabelForm(THREE)).tolist() == [[1, 0, 255]]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_color_labels_are_mapped_where_it_is_asked_for(tmp_path, mode):
    ids = np.array([[0, 1, 2, 1], [2, 2, 0, 255]], np.uint8)
    rgb = THREE.colorize(ids)
    picture = Image.fromarray(rgb)
    path = tmp_path / "c.png"
    (picture.quantize(4) if mode == "P" else picture.convert(mode)).save(path)
    form = LabelForm(THREE, by="color")
    assert read_train_ids(path, form).tolist() == ids.tolist()
    facts = inspect_label(path, form)
    assert [facts.counts[i] for i in (0, 1, 2, 255)] == [2, 2, 3, 1]
    with pytest.raises(DataError, match="void_colors"):
        read_train_ids(path, LabelForm(THREE, by="color", void_colors=((1, 1, 1),)))


def test_an_unknown_color_is_named(tmp_path):
    path = tmp_path / "c.png"
    write_png(np.full((2, 2, 3), (9, 8, 7), np.uint8), path)
    with pytest.raises(DataError, match=r"c\.png holds colors .* got \(9, 8, 7\)"):
        read_train_ids(path, LabelForm(THREE, by="color"))


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
def test_wide_labels_are_read_and_their_wide_ids_are_not_wrapped(tmp_path, dtype):
    path = tmp_path / "wide.tiff"
    Image.fromarray(np.array([[7, 26]], dtype)).save(path)
    assert read_train_ids(path, FORM).tolist() == [[0, 1]]
    Image.fromarray(np.array([[7, 256 + 26]], dtype)).save(path)
    with pytest.raises(DataError, match="got id 282"):
        read_train_ids(path, FORM)


def test_ids_out_of_range_are_named_with_the_file_and_what_is_allowed(tmp_path):
    path = tmp_path / "bad.png"
    write_png(np.array([[3, 7, 40]], np.uint8), path)
    with pytest.raises(DataError, match=r"bad\.png .* got id 3, 40; expected 0, 7, 26, 255"):
        read_train_ids(path, FORM)


@pytest.mark.parametrize("mode", ["RGB", "LA", "F"])
def test_several_channels_are_no_label_map(tmp_path, image, mode):
    path = tmp_path / "color.tiff"
    Image.fromarray(image).convert(mode).save(path)
    with pytest.raises(DataError, match=rf"color\.tiff is not a label map; got mode {mode}"):
        read_train_ids(path, FORM)


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("by", ["auto", "color"])
def test_a_jpeg_is_no_label_whatever_its_name(tmp_path, name, mode, by):
    path = tmp_path / name
    Image.new(mode, (8, 8)).save(path, "JPEG")
    with pytest.raises(DataError, match="is a JPEG"):
        read_train_ids(path, LabelForm(THREE, by=by))
    assert "is a JPEG" in inspect_label(path, LabelForm(THREE, by=by)).problems[0]


@pytest.mark.parametrize(
    ("kind", "options"), [("TIFF", {"compression": "jpeg"}), ("MPO", {"save_all": True})]
)
def test_jpeg_inside_another_file_is_no_label_either(tmp_path, kind, options):
    path = tmp_path / "a.tif"
    Image.new("L", (16, 16)).save(path, kind, **options)
    for form in (LabelForm(THREE), LabelForm(THREE, by="color")):
        with pytest.raises(DataError, match="is a JPEG"):
            read_train_ids(path, form)


def test_a_gif_is_no_label_as_its_writers_renumber_what_they_write(tmp_path):
    Image.fromarray(np.array([[0, 2]], np.uint8)).save(tmp_path / "a.gif")  # index 1 is grey 2
    with pytest.raises(DataError, match=r"a\.gif is a GIF"):
        read_train_ids(tmp_path / "a.gif", LabelForm(THREE))
    Image.fromarray(THREE.colorize(np.array([[0, 2]], np.uint8))).save(tmp_path / "a.gif")
    assert read_train_ids(tmp_path / "a.gif", LabelForm(THREE, by="color")).tolist() == [[0, 2]]


IDS = np.kron(np.array([[0, 1, 2], [2, 1, 255]], np.uint8), np.ones((4, 4), np.uint8))
LOSSLESS = {
    "16 bits": lambda path: Image.fromarray(IDS.astype(np.uint16)).save(path, "PNG"),
    "32 bits, void -1": lambda path: Image.fromarray(
        np.where(IDS == 255, 255, IDS).astype(np.int32)
    ).save(path, "TIFF"),
    "several frames": lambda path: Image.fromarray(IDS).save(
        path, "PNG", save_all=True, append_images=[Image.fromarray(IDS[::-1])]
    ),
    "transparent": lambda path: Image.fromarray(IDS).save(path, "PNG", transparency=1),
    "white is zero": lambda path: Image.fromarray(IDS).save(path, "TIFF", tiffinfo={262: 0}),
    "interlaced": lambda path: path.write_bytes(interlaced(IDS)),
}


def interlaced(pixels: np.ndarray) -> bytes:
    """An 8-bit grey PNG in the seven passes of Adam7."""
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
              (1, 0, 2, 1))  # fmt: skip
    rows = b""
    for top, left, down, across in passes:
        part = pixels[top::down, left::across]
        rows += b"".join(b"\0" + row.tobytes() for row in part) if part.size else b""
    return grey_png(pixels.shape, 8, rows, interlace=1)


@pytest.mark.parametrize("how", LOSSLESS)
def test_a_file_without_loss_is_read_as_it_was_drawn(tmp_path, how):
    LOSSLESS[how](tmp_path / "a.png")
    assert read_train_ids(tmp_path / "a.png", LabelForm(THREE)).tolist() == IDS.tolist()


@pytest.mark.parametrize("wide", [256, 257, 1000])
def test_ids_scaled_to_16_bits_or_with_instances_are_refused(tmp_path, wide):
    """Cityscapes' instance files and grey values scaled up are no ids."""
    Image.fromarray(IDS.astype(np.uint16) * wide).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="holds ids that three does not have"):
        read_train_ids(tmp_path / "a.png", LabelForm(THREE))


@pytest.mark.parametrize("options", [{}, {"bits": 4}, {"transparency": bytes([9, 8, 7, 255])}])
@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("orientation", [1, 3])
def test_a_permuted_palette_is_one_in_every_form(tmp_path, options, twice, orientation):
    """With few bits, half transparent, with colors that stand twice, and turned."""
    order = np.where(IDS == 255, 3, (IDS.astype(int) + 1) % 3).astype(np.uint8)
    exif = Image.Exif()
    exif[0x112] = orientation
    picture = Image.frombytes("P", IDS.shape[::-1], order.tobytes())
    colors = [THREE.colors[2], THREE.colors[0], THREE.colors[1], (0, 0, 0)]
    picture.putpalette([c for color in colors + colors[:3] * twice for c in color])
    picture.save(tmp_path / "a.png", exif=exif, **options)
    shown = IDS if orientation == 1 else IDS[::-1, ::-1]
    assert read_train_ids(tmp_path / "a.png", LabelForm(THREE)).tolist() == shown.tolist()
    facts = inspect_label(tmp_path / "a.png", LabelForm(THREE))
    assert [facts.counts[i] for i in (0, 1, 2, 255)] == [16, 32, 32, 16]


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_label_on_its_side_has_the_size_that_is_shown(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x112] = orientation
    Image.fromarray(IDS).save(tmp_path / "a.png", exif=exif)
    read = read_train_ids(tmp_path / "a.png", LabelForm(THREE))
    assert read.shape == (12, 8) == inspect_label(tmp_path / "a.png", LabelForm(THREE)).size_hw


@pytest.mark.parametrize("how", ["BILINEAR", "LANCZOS"])
@pytest.mark.parametrize("palette", [False, True])
def test_colors_that_were_mixed_by_resizing_are_named(tmp_path, how, palette):
    picture = Image.fromarray(THREE.colorize(IDS)).resize((50, 37), Image.Resampling[how])
    (picture.quantize(64) if palette else picture).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="holds colors that three does not have"):
        read_train_ids(tmp_path / "a.png", LabelForm(THREE, by="color"))


@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (3, 1), (2, 2), (1, 5), (7, 3)])
def test_small_labels_are_counted_to_the_last_pixel(tmp_path, shape):
    labels = np.resize(np.array([7, 7, 26, 255, 26], np.uint8), shape)
    write_png(labels, tmp_path / "a.png")
    counts = inspect_label(tmp_path / "a.png", FORM).counts
    assert [counts[i] for i in (0, 1, 255)] == [np.count_nonzero(labels == i) for i in (7, 26, 255)]
    assert counts.sum() == labels.size


@pytest.mark.parametrize(
    ("ids", "void", "white"), [((0, 1), (255,), 1), ((0, 255), (), 1), ((1,), (0, 255), 0)]
)
def test_white_of_a_one_bit_mask_is_1_or_where_there_is_none_255(tmp_path, ids, void, white):
    path = tmp_path / "mask.png"
    Image.fromarray(np.array([[False, True]])).save(path)
    names = tuple("ab"[: len(ids)])
    colors = ((0, 0, 9), (0, 0, 8))[: len(ids)]
    table = LabelTable(name="t", names=names, colors=colors, file_ids=ids, void_ids=void)
    black = table.to_train_ids(np.zeros(1, np.uint8))[0]
    assert read_train_ids(path, LabelForm(table)).tolist() == [[black, white]]
    assert "of 1 bit" in inspect_label(path, LabelForm(table)).note


@pytest.mark.parametrize("bits", [2, 4])
def test_grey_of_few_bits_is_refused_as_nobody_knows_whether_it_was_scaled(tmp_path, bits):
    path = tmp_path / "few.png"
    path.write_bytes(few_bits(bits))
    with pytest.raises(DataError, match="of 2 or 4 bits"):
        read_train_ids(path, LabelForm(THREE))


def few_bits(bits: int) -> bytes:
    return grey_png((2, 8), bits, (b"\0" + b"\x11" * (8 * bits // 8)) * 2)


def grey_png(shape: tuple[int, ...], bits: int, rows: bytes, *, interlace: int = 0) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        end = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + end

    header = struct.pack(">IIBBBBB", shape[1], shape[0], bits, 0, 0, 0, interlace)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )  # fmt: skip


def test_a_label_is_turned_as_it_is_shown(tmp_path):
    exif = Image.Exif()
    exif[0x112] = 3
    Image.fromarray(np.array([[7, 26]], np.uint8)).save(tmp_path / "a.png", exif=exif)
    assert read_train_ids(tmp_path / "a.png", FORM).tolist() == [[1, 0]]


@pytest.mark.parametrize("ids", [[[0, 5, 18, 255]], [[255, 255, 3, 3]], [[7, 8, 255, 0]]])
def test_train_ids_under_the_name_of_label_ids_are_refused(tmp_path, ids):
    from artoolkit.data.cityscapes import LABELS

    form = LabelForm(LABELS, refuses_train_ids=True)
    path = tmp_path / "a_gtFine_labelIds.png"
    write_png(np.array(ids, np.uint8), path)
    with pytest.raises(DataError, match="holds train ids under the name"):
        read_train_ids(path, form)
    write_png(np.array([[*ids[0][1:], 26]], np.uint8), path)  # a car, and its plate drawn as 255
    assert read_train_ids(path, form)[0, -1] == 13


def drawn(size: int = 128) -> np.ndarray:
    """Ids 0, 8 and 16 of 19 in regions with borders of every direction."""
    y, x = np.mgrid[:size, :size]
    labels = np.zeros((size, size), np.uint8)
    labels[(y - 40) ** 2 + (x - 60) ** 2 < 900] = 8
    labels[x + 2 * y > 2.2 * size] = 16
    return labels


NINETEEN = LabelTable(
    name="n", names=tuple(f"c{i}" for i in range(19)), colors=((0, 0, 0),) * 19,
    file_ids=tuple(range(19)),
)  # fmt: skip


@pytest.mark.parametrize("factor", [0.5, 1.5, 2, 4])
@pytest.mark.parametrize("how", ["BILINEAR", "BICUBIC", "NEAREST"])
def test_slivers_of_interpolated_labels_are_seen(tmp_path, factor, how):
    size = round(128 * factor)
    picture = Image.fromarray(drawn()).resize((size, size), Image.Resampling[how])
    picture.save(tmp_path / "a.png")
    facts = inspect_label(tmp_path / "a.png", LabelForm(NINETEEN))
    assert facts.has_slivers == (how != "NEAREST")


def test_thin_things_that_were_drawn_are_no_slivers(tmp_path):
    labels = drawn()
    labels[:, ::9] = 5
    labels[::7] = 12
    write_png(labels, tmp_path / "a.png")
    assert not inspect_label(tmp_path / "a.png", LabelForm(NINETEEN)).has_slivers


def test_an_inspection_counts_what_reading_gives(tmp_path):
    labels = np.random.default_rng(0).choice(np.array([0, 7, 26, 255], np.uint8), (20, 30))
    write_png(labels, tmp_path / "a.png")
    facts = inspect_label(tmp_path / "a.png", FORM)
    read = read_train_ids(tmp_path / "a.png", FORM)
    assert facts.counts.tolist() == np.bincount(read.ravel(), minlength=256).tolist()
    assert (facts.size_hw, facts.ids, facts.problems) == ((20, 30), {0, 7, 26, 255}, ())
    write_png(labels, tmp_path / "b.png")
    assert facts.digest == inspect_label(tmp_path / "b.png", FORM).digest != 0
