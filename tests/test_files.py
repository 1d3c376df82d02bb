"""Files that somebody else wrote: whatever is wrong with one is one line of its reader's error."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from artoolkit.data.synthetic import RECORD, synthesize
from artoolkit.errors import ArtoolkitError, BundleError, DataError, RecipeError
from artoolkit.evaluation.experiment import read_rows
from artoolkit.evidence.seal import read_sealed, write_sealed
from artoolkit.files import parse_json, read_bytes, read_json_lines, read_npz, reading
from artoolkit.report.curves import METRICS, run_part
from artoolkit.spec import read_toml


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "missing", "long name"])
def test_what_is_no_file_is_refused_before_it_is_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path = Path("/dev/zero")
    elif kind == "long name":
        path = tmp_path / ("x" * 5000)
    for read in (
        lambda: read_bytes(path, BundleError),
        lambda: read_json_lines(path, BundleError),
        lambda: read_npz(path, BundleError),
        lambda: read_sealed(path),
    ):
        with pytest.raises(BundleError) as error:
            read()
        assert "\n" not in str(error.value)
    with pytest.raises(RecipeError):
        read_toml(path, "target")


@pytest.mark.parametrize(
    "raised", [KeyError(), RecursionError("deep"), MemoryError(), zipfile.BadZipFile("two\nlines")]
)
def test_whatever_a_library_raises_is_the_files_fault(tmp_path: Path, raised: Exception) -> None:
    (tmp_path / "x").write_bytes(b"")
    with (
        pytest.raises(DataError, match="x cannot be read") as error,
        reading(tmp_path / "x", DataError),
    ):
        raise raised
    assert "\n" not in str(error.value)


def test_our_own_errors_and_interrupts_pass_through(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"")
    for raised in (RecipeError("mine"), KeyboardInterrupt()):
        with pytest.raises(type(raised)), reading(tmp_path / "x", DataError):
            raise raised


def test_a_file_that_is_too_large_is_refused_with_both_numbers(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    with pytest.raises(DataError, match="got 5 bytes; expected at most 4"):
        read_bytes(tmp_path / "x", DataError, most=4)


@pytest.mark.parametrize(
    "text", ["NaN", '{"a": Infinity}', r'{"a": "\ud800"}', "[" * 100_000, "[1]", "{", b"\xff\xfe"]
)
def test_a_line_that_is_no_json_object_is_named(tmp_path: Path, text: str | bytes) -> None:
    path = tmp_path / "rows.jsonl"
    line = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(b'{"a": 1}\n' + line + b"\n")
    with pytest.raises(DataError, match="line 2 of"):
        read_json_lines(path, DataError)
    path.write_bytes(b'{"a": 1}\n' + line)
    assert read_json_lines(path, DataError) == [{"a": 1}], "a last line without its end was cut"


@pytest.mark.parametrize("text", ["NaN", r'{"sha256": "\ud800"}', "[" * 100_000, "null", "\xff"])
def test_a_sealed_file_of_anything_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(BundleError):
        read_sealed(tmp_path / "x.json")


def test_a_seal_is_still_read(tmp_path: Path) -> None:
    write_sealed(tmp_path / "x.json", {"text": "Straße", "number": 1.5})
    assert read_sealed(tmp_path / "x.json")["text"] == "Straße"


def test_an_archive_that_claims_too_much_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez_compressed(path, a=np.zeros(1 << 22, np.uint8))
    assert path.stat().st_size < 1 << 14
    with pytest.raises(DataError, match="it unpacks to 4,194,432 bytes"):
        read_npz(path, DataError, most=1 << 20)
    assert read_npz(path, DataError)["a"].size == 1 << 22
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError):
        read_npz(path, DataError)


ROW = {"arm": "control", "ar_weight": 0, "seed": 1, "epochs": 1, "mIoU": 40.0}


@pytest.mark.parametrize(
    "change", [{"mIoU": None}, {"arm": {"a": 1}}, {"seed": "1"}, {"epochs": []}, {"ar_weight": ""}]
)
def test_a_row_with_another_type_is_named(tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "runs.jsonl"
    path.write_text(json.dumps(ROW) + "\n" + json.dumps(ROW | change) + "\n")
    with pytest.raises(DataError, match=f"line 2, has no valid {next(iter(change))}"):
        read_rows(path)


@pytest.mark.parametrize(
    "line", ["[]", '{"kind": "iteration"}', '{"kind": "iteration", "iteration": "x"}', "\xff"]
)
def test_metrics_of_anything_are_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / METRICS).write_bytes(line.encode("latin-1") + b"\n")
    with pytest.raises(DataError, match=METRICS):
        run_part(tmp_path)


def test_a_cut_record_of_a_data_set_is_named(tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text('{"seed": 1, "ima')
    with pytest.raises(ArtoolkitError, match=RECORD):
        synthesize(tmp_path, train=1, val=1, size_hw=(64, 96), seed=1)


@pytest.mark.parametrize(
    "text", ['{"a": NaN}', '{"a": 1e400}', '"\\ud800"', '{"a": {"b": 1, "b": 1}}']
)
def test_json_that_readers_take_differently_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)
