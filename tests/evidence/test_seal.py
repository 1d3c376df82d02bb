"""Sealed JSON: any changed byte is found and named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from artoolkit.errors import BundleError, StorageError
from artoolkit.evidence.seal import (
    canonical,
    file_sha256,
    read_sealed,
    seal,
    write_atomically,
    write_sealed,
)


def test_what_was_written_is_read_and_its_hash_returned(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    sha = write_sealed(path, {"b": [1, 2.5, None], "a": "é"})
    assert read_sealed(path) == {"a": "é", "b": [1, 2.5, None], "sha256": sha}


def test_the_seal_does_not_depend_on_the_order_of_keys_or_an_older_seal() -> None:
    assert seal({"a": 1, "b": 2}) == seal({"b": 2, "a": 1, "sha256": "old"})


@pytest.mark.parametrize("offset", range(0, 90, 7))
def test_one_changed_byte_is_found(tmp_path: Path, offset: int) -> None:
    path = tmp_path / "a.json"
    write_sealed(path, {"latency_ms": 1.25, "name": "icnet"})
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"a\.json"):
        read_sealed(path)


def test_other_spacing_of_the_same_values_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_sealed(path, {"a": 1})
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(BundleError, match="was changed"):
        read_sealed(path)


@pytest.mark.parametrize("content", [b"[]", b"{}", b"", b"\xff"])
def test_what_is_no_sealed_object_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"a\.json"):
        read_sealed(path)


def test_nan_is_refused_rather_than_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_sealed(tmp_path / "a.json", {"latency_ms": float("nan")})
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        write_atomically(tmp_path / "file" / "a.json", b"")


def test_file_hash_reads_all_pieces(tmp_path: Path) -> None:
    path = tmp_path / "zeros"
    path.write_bytes(b"\0" * ((1 << 20) + 1))
    first = file_sha256(path)
    path.write_bytes(b"\0" * (1 << 20) + b"\1")
    assert first != file_sha256(path)


@pytest.mark.parametrize(
    "values",
    [{}, {"a": 1}, {"z": 1}, {"a": 1, "z": {"sha256": "x"}}, {"a": '\n  "sha256": "x"', "é": [{}]}],
)
def test_what_is_sealed_is_read_wherever_its_key_stands(
    tmp_path: Path, values: dict[str, object]
) -> None:
    path = tmp_path / "x.json"
    sha256 = write_sealed(path, values)
    assert read_sealed(path) == values | {"sha256": sha256}
    for wrong in ("0" * 64, "", 3, None, [sha256]):
        path.write_bytes(canonical(values | {"sha256": wrong}))
        with pytest.raises(BundleError, match="was changed after it was written"):
            read_sealed(path)


def test_what_is_no_file_is_not_replaced_by_one(tmp_path: Path) -> None:
    """As root the name of /dev/null could be taken by a file."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    before = {path.name: path.lstat() for path in tmp_path.iterdir()}
    for name in before:
        with pytest.raises(StorageError, match="no regular file"):
            write_atomically(tmp_path / name, b"content")
    assert {path.name: path.lstat().st_ino for path in tmp_path.iterdir()} == {
        name: found.st_ino for name, found in before.items()
    }
