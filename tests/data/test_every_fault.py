"""`data check` on sets with one fault of every kind: all are named, and --strict ends with 4.

The kinds are those that the code can tell: every sentence of it is looked for in what was printed.
"""

from __future__ import annotations

import ast
import os
import struct
import unicodedata
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import artoolkit.data
from artoolkit.cli import main
from artoolkit.data.image_files import write_png
from artoolkit.data.listing import find_files
from artoolkit.errors import DataError

CODE = Path(artoolkit.data.__file__).parent
# Sentences that the check does not print: one ends it (the last test here), one is of predictions.
ENDS = {" cannot be listed: ", "two images in "}

FOLDER = """
classes = [{name = "ground", color = [128, 64, 128]}, {name = "person", color = [220, 20, 60]},
           {name = "wall", color = [70, 70, 70]}]
patterns = {image = "*.png", label = "*_m.png"}
"""
SIZE = (32, 48)
GROUND = np.zeros(SIZE, np.uint8)


def sentences() -> Iterator[tuple[str, str]]:
    """Module, and the longest fixed part of everything that it may say about a file or a split."""
    for name in ("check", "label_files", "listing", "image_files", "folder", "twins"):
        for node in ast.walk(ast.parse((CODE / f"{name}.py").read_text(encoding="utf-8"))):
            for said in told(node, name):
                parts = [part.value for part in ast.walk(said) if isinstance(part, ast.Constant)]
                longest = max((part for part in parts if isinstance(part, str)), key=len)
                if len(longest) > len("label"):  # "3 labels", and then what another module says
                    yield name, longest


def told(node: ast.AST, module: str) -> Iterator[ast.expr]:
    text = ast.JoinedStr | ast.Constant
    match node:
        case ast.Call(func=ast.Name(id="DataError"), args=[first, *_]):
            yield first
        case ast.Call(func=ast.Attribute(value=ast.Name(id="clashes")), args=[first]):
            yield first
        case ast.Yield(value=value) if isinstance(value, text):
            yield value
        case ast.YieldFrom(value=ast.GeneratorExp(elt=ast.JoinedStr() as value)):
            yield value
        case ast.Assign(targets=[ast.Name(id="remark" | "text" | "note")], value=value):
            if isinstance(value, text):
                yield value
        case ast.keyword(arg="note", value=value) if isinstance(value, text):
            yield value
        case ast.Assign(targets=[ast.Name(id="kinds")], value=ast.Tuple(elts=rows)):
            yield from (row.elts[0] for row in rows if isinstance(row, ast.Tuple))
        case ast.Return(value=ast.JoinedStr() as value) if module == "check":
            yield value


def chunk(name: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum


def png(size: int, depth: int, *, behind: bytes = b"") -> bytes:
    """A grey PNG that claims this size; `behind`: EXIF after the pixels."""
    head = struct.pack(">IIBBBBB", size, size, depth, 0, 0, 0, 0)
    pixels = zlib.compress((b"\0" + bytes(2 * depth // 8)) * 2)
    exif = chunk(b"eXIf", behind) if behind else b""
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + exif
            + chunk(b"IEND", b""))  # fmt: skip


def faulty_folder(root: Path) -> Path:
    """A described folder: one fault for every file, one split for what concerns all files."""
    random = np.random.default_rng(0)
    text = FOLDER

    def pair(split: str, name: str, label: np.ndarray | None = GROUND, ending: str = "png") -> None:
        picture = Image.fromarray(random.integers(0, 256, (*SIZE, 3), np.uint8))
        for part in ("images", "labels"):
            (root / split / part).mkdir(parents=True, exist_ok=True)
        picture.save(root / split / "images" / f"{name}.{ending}")
        if label is not None:
            write_png(label, root / split / "labels" / f"{name}_m.png")

    for name in "abcdefghijklmn":
        pair("train", name)
    images, labels = root / "train" / "images", root / "train" / "labels"
    turned = Image.Exif()
    turned[0x112] = 6
    Image.open(images / "a.png").save(images / "a.png", exif=turned)  # its label is upright
    (images / "b.png").write_bytes((images / "b.png").read_bytes()[:900])
    (images / "c.png").write_bytes(png(2, 16))
    Image.open(images / "d.png").save(images / "d.png", "EPS")
    (images / "e.png").write_bytes(png(60_000, 8))
    (images / "f.png").write_bytes(png(2, 8, behind=turned.tobytes()[6:]))
    Image.fromarray(GROUND).save(labels / "g_m.png", "JPEG")
    Image.open(images / "h.png").save(labels / "h_m.png")
    Image.fromarray(GROUND).save(labels / "e_m.png", "GIF")
    write_png(GROUND + 77, labels / "i_m.png")
    Image.fromarray(GROUND).convert("1").save(labels / "j_m.png")
    palette = Image.frombytes("P", SIZE[::-1], GROUND.tobytes())
    palette.putpalette([70, 70, 70, 220, 20, 60, 128, 64, 128])
    palette.save(labels / "k_m.png")
    coarse = np.kron(random.integers(0, 2, (4, 6)) * 16, np.ones((8, 8))).astype(np.uint8)
    big = Image.fromarray(coarse).resize((72, 48), Image.Resampling.BILINEAR)
    big.save(labels / "l_m.png")
    Image.new("RGB", big.size).save(images / "l.png")
    (labels / "m_m.png").unlink()
    (images / "n.png").unlink()
    pair("train", "o", ending="bmp")
    pair("train", unicodedata.normalize("NFC", "café"))
    (images / unicodedata.normalize("NFC", "café.png")).rename(
        images / unicodedata.normalize("NFD", "café.png")
    )
    for form in ("NFC", "NFD"):
        pair("train", unicodedata.normalize(form, "é"))
    pair("train", "latin")
    (images / "latin.png").rename(images / os.fsdecode(b"caf\xe9.png"))
    (labels / "latin_m.png").rename(labels / os.fsdecode(b"caf\xe9_m.png"))
    pair("train", "._a")
    write_png(GROUND, labels / "_m.png")
    write_png(GROUND, labels / "p_m.PNG")
    (labels / "day2").symlink_to("/nowhere")
    for split, label in {"void": GROUND + 255, "masks": GROUND, "val": None}.items():
        pair(split, "0", label)
    write_png(np.repeat(np.uint8([[0], [255]]), 24, 0), root / "masks" / "labels" / "0_m.png")
    pair("twins", "0")
    (root / "twins" / "images" / "0.png").write_bytes((root / "void/images/0.png").read_bytes())
    pair("empty", "0")
    (root / "empty" / "images" / "0.png").unlink()
    for split in ("train", "void", "masks", "val", "twins", "empty"):
        text += f'[splits.{split}]\nimages = "{split}/images"\nlabels = "{split}/labels"\n'
    (root / "classes.toml").write_text(text)
    return root


def of_colors(root: Path) -> Path:
    """Labels by color, one of which no class has, and a pattern that takes every ending."""
    (root / "images").mkdir(parents=True)
    (root / "classes.toml").write_text(
        FOLDER.replace("*.png", "*")
        + 'labels_by = "color"\n[splits.train]\nimages = "images"\nlabels = "labels"'
    )
    for name in ("0.png", "1.bmp"):
        Image.new("RGB", (4, 4)).save(root / "images" / name)
        write_png(np.full((4, 4, 3), 9, np.uint8), root / "labels" / f"{name}_m.png")
    return root


def of_train_ids(root: Path) -> Path:
    """Cityscapes with train ids in a file of label ids."""
    write_png(np.zeros((4, 4, 3), np.uint8), root / "leftImg8bit/train/x/x_leftImg8bit.png")
    ids = np.resize(np.uint8([0, 5, 255]), (4, 4))
    write_png(ids, root / "gtFine/train/x/x_gtFine_labelIds.png")
    return root


SETS = {faulty_folder: "folder", of_colors: "folder", of_train_ids: "cityscapes"}


def test_every_sentence_of_the_code_is_said_of_a_set_with_that_fault(tmp_path: Path) -> None:
    printed = ""
    for make, form in SETS.items():
        root = make(tmp_path / make.__name__)
        asked = ["data", "check", str(root), "--dataset", form, "--workers", "1", "--strict"]
        done = CliRunner().invoke(main, asked)
        assert done.exit_code == DataError.exit_code, done.output
        printed += done.output
    said = [(module, text) for module, text in sentences() if text not in ENDS]
    assert len(said) > 25  # they are found
    unsaid = [(module, text) for module, text in said if text not in printed]
    assert not unsaid, unsaid
    assert "b.png cannot be read: image file is truncated" in printed  # Pillow's words


def test_a_folder_that_cannot_be_listed_ends_the_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "locked").mkdir()
    scan = os.scandir

    def refuse(place: str) -> object:
        if Path(place).name == "locked":
            raise PermissionError(13, "Permission denied", place)
        return scan(place)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match="locked cannot be listed: Permission denied"):
        find_files(tmp_path, str)
