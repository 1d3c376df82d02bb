"""Which files are samples, and what is said about the others."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from artoolkit.data.listing import find_files, images_below, on_this_system, with_ending


def make(folder: Path, *names: str | bytes) -> None:
    for name in names:
        path = Path(os.fsdecode(os.fsencode(folder) + b"/" + os.fsencode(name)))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in images_below(folder)]


def test_hidden_files_and_folders_are_no_samples_and_are_named(tmp_path):
    make(tmp_path, "a.png", "._a.png", ".ipynb_checkpoints/a-checkpoint.png", "x/.png", ".DS_Store")
    files = find_files(tmp_path, lambda path: path.stem if path.suffix == ".png" else None)
    assert list(files.paths) == ["a"]
    (remark,) = files.remarks
    for name in ("3 files hidden", "._a.png", ".ipynb_checkpoints/a-checkpoint.png", "x/.png"):
        assert name in remark


def test_a_link_that_leads_nowhere_is_said(tmp_path):
    """A drive whose disk is not there would be left out in silence."""
    (tmp_path / "a.png").touch()
    (tmp_path / "day2").symlink_to(tmp_path / "gone")
    (tmp_path / "b.png").symlink_to("b.png")
    found = find_files(tmp_path, with_ending(".png"))
    assert set(found.paths) == {"a", "b"}  # reading b says what is wrong with it
    assert any("a link that leads nowhere: day2" in remark for remark in found.remarks)


@pytest.mark.parametrize(
    "name", ["50%", "#1", "a\nb", "-rf", "😀", " a", "a\\b", "[x]", "a'b\"", "x" * 250, "\u202egnp"]
)
def test_a_name_is_a_name_whatever_it_holds(tmp_path, name):
    (tmp_path / f"{name}.png").touch()
    assert list(find_files(tmp_path, with_ending(".png")).paths) == [name]


def test_linked_folders_are_followed_and_circles_end(tmp_path):
    make(tmp_path / "far", "b.png")
    make(tmp_path / "set", "a.png", "day/c.png")
    (tmp_path / "set" / "day2").symlink_to(tmp_path / "far")
    (tmp_path / "far" / "back").symlink_to(tmp_path / "set")
    assert names(tmp_path / "set") == ["a.png", "day/c.png", "day2/b.png"]


@pytest.mark.parametrize(
    ("raw", "name"),
    [(b"caf\xe9", r"caf\xe9"), (b"\xb5m", r"\xb5m"), (b"ok\xff\xfe", r"ok\xff\xfe")],
)
def test_names_that_are_not_utf8_become_text(tmp_path, raw, name):
    make(tmp_path, raw + b".png")
    files = find_files(tmp_path, with_ending(".png"))
    assert list(files.paths) == [name]
    assert files.paths[name].is_file()
    assert "not UTF-8" in files.remarks[0]
    assert name in files.remarks[0]


@pytest.mark.parametrize("name", ["café", "Straße Ä", "が"])
def test_one_name_in_two_unicode_forms_clashes(tmp_path, name):
    composed, decomposed = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    make(tmp_path, f"{decomposed}.png")
    assert list(find_files(tmp_path, with_ending(".png")).paths) == [composed]
    make(tmp_path, f"{composed}.png")
    (clash,) = find_files(tmp_path, with_ending(".png")).clashes
    assert f"both sample {composed}" in clash


def test_two_endings_of_one_name_clash(tmp_path):
    make(tmp_path, "a.png", "a.JPG", "b.jpeg")
    files = find_files(tmp_path, with_ending(".jpg", ".jpeg", ".png"))
    assert sorted(files.paths) == ["a", "b"]
    assert len(files.clashes) == 1


@pytest.mark.parametrize("path", [r"train\images", "train/images", r".\train\images"])
def test_paths_may_have_been_written_on_windows(path):
    assert on_this_system(path) == Path("train/images")
