"""Parts by name, read without onnx, and what is no such file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from artoolkit.evidence.parts import SHOWN, changed_parts, npz_parts, onnx_parts, parts_of


def write_onnx(path: Path, **tensors: float) -> Path:
    graph = onnx.helper.make_graph(
        [], "g", [], [],
        [numpy_helper.from_array(np.full((40, 10), v, np.float32), k) for k, v in tensors.items()],
    )  # fmt: skip
    onnx.save(onnx.helper.make_model(graph, doc_string="x" * 300), path)
    return path


def test_tensors_are_those_that_onnx_reads(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "a.onnx", first=1, second=2, twin=1)
    found = onnx_parts(path)
    assert list(found) == [t.name for t in onnx.load(path).graph.initializer]
    assert len(set(found.values())) == 3  # the name is a part of a tensor
    assert all(len(value) == 16 for value in found.values())


def test_one_value_changes_one_hash(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "a.onnx", first=1, second=2)
    expected = onnx_parts(path)
    write_onnx(path, first=1, second=2.5)
    assert changed_parts(path, expected) == "second"
    write_onnx(path, first=1, third=2)
    assert changed_parts(path, expected) == "second, third"


def test_many_changes_are_counted(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "a.onnx", **{f"w{i}": i for i in range(SHOWN + 4)})
    expected = onnx_parts(path)
    write_onnx(path, **{f"w{i}": i + 1 for i in range(SHOWN + 4)})
    assert changed_parts(path, expected) == "w0, w1, w2 and 4 more"


def test_images_by_their_number(tmp_path: Path) -> None:
    path, images = tmp_path / "golden.npz", np.zeros((3, 2, 2, 3), np.uint8)
    np.savez_compressed(path, images=images)
    expected = npz_parts(path)
    assert list(expected) == ["images[0]", "images[1]", "images[2]"]
    images[1, 0, 0, 0] = 1
    np.savez_compressed(path, images=images)
    assert changed_parts(path, expected) == "images[1]"
    assert parts_of(path) == npz_parts(path)


@pytest.mark.parametrize("name", ["model.onnx", "golden.npz"])
@pytest.mark.parametrize("content", [b"", b"a graph with weights", b"PK\x03\x04", b"\x3a\xff\xff"])
def test_what_cannot_be_read_has_no_parts(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert parts_of(tmp_path / name) == {}
    assert changed_parts(tmp_path / name, {"weight": "0" * 16}) == ""


def test_a_change_between_the_parts_names_none(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "a.onnx", first=1)
    expected, model = onnx_parts(path), onnx.load(path)
    model.doc_string = "other"
    onnx.save(model, path)
    assert changed_parts(path, expected) == ""
