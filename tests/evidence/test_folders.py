"""A folder is the old one or the new one, whatever happens on the way."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from crashing import every_crash

from artoolkit.errors import StorageError
from artoolkit.evidence import folders
from artoolkit.evidence.bundle import Bundle, open_bundle, write_bundle
from artoolkit.evidence.contents import file_problems
from artoolkit.evidence.folders import new_folder, scratch_folder


def content(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*.txt")}


def write(out: Path) -> None:
    with new_folder(out) as folder:
        for name in ("a.txt", "deep/b.txt"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text("new")


OLD, NEW = {"a.txt": "old", "gone.txt": "old"}, {"a.txt": "new", "deep/b.txt": "new"}


@pytest.mark.parametrize("exchange", [True, False], ids=["in one step", "in two"])
def test_killed_at_every_step_it_is_old_or_new_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    if not exchange:
        monkeypatch.setattr(folders.sys, "platform", "darwin")
    out, states = tmp_path / "out", []

    def restore() -> None:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        for name, text in OLD.items():
            (out / name).write_text(text)

    for _ in every_crash(lambda: write(out), restore):
        # In two steps there is one moment without either, which the next run mends.
        found = content(out) if out.exists() or exchange else None
        assert found in (OLD, NEW, None)
        states.append(found)
        write(out)
        assert content(out) == NEW
        assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert len(states) > 5
    assert OLD in states
    assert NEW in states
    assert (None in states) != exchange
    assert content(out) == NEW


def test_a_block_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    write(tmp_path / "out")
    with pytest.raises(KeyError), new_folder(tmp_path / "out") as folder:
        (folder / "a.txt").write_text("half")
        raise KeyError
    assert content(tmp_path / "out") == NEW
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for kind in (new_folder, scratch_folder):
        with pytest.raises(StorageError, match="cannot write"), kind(tmp_path / "file" / "out"):
            pass


def test_a_file_in_the_place_of_a_folder_stays(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StorageError, match="it is no folder"):
        write(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("exchange", [True, False], ids=["in one step", "in two"])
def test_a_link_stays_one_and_the_folder_behind_it_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    if not exchange:
        monkeypatch.setattr(folders.sys, "platform", "darwin")
    link, place = tmp_path / "out", tmp_path / "disk" / "place"
    link.symlink_to(place)
    for _ in range(2):  # at first nothing lies behind it
        write(link)
        assert link.is_symlink() and content(place) == NEW
        assert [p.name for p in place.parent.iterdir()] == ["place"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["disk", "out"]
    with scratch_folder(link) as scratch:
        assert scratch.parent == place.parent


def test_a_loop_of_links_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(StorageError, match="cannot write"):
        write(tmp_path / "a")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_scratch_of_a_killed_run_goes_with_the_next(tmp_path: Path) -> None:
    with scratch_folder(tmp_path / "out") as scratch:
        left = scratch
        (scratch / "x").write_text("")
    left.mkdir()
    (left / "half").write_text("")
    with scratch_folder(tmp_path / "out") as scratch:
        assert list(scratch.iterdir()) == []
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_that_is_replaced_is_always_whole(
    baseline: Bundle, candidate: Bundle, tmp_path: Path
) -> None:
    out, kept = tmp_path / "bundle", tmp_path / "kept"
    manifest, golden = candidate.manifest, candidate.golden()

    def export() -> None:
        write_bundle(
            out, model=candidate.model, golden_images=golden["images"],
            golden_labels=golden["labels"], network="new", labels=manifest.labels,
            preprocess=manifest.preprocess, target=manifest.target, trained=manifest.trained,
            provenance={}, baseline=baseline.path, overwrite=True,
        )  # fmt: skip

    def restore() -> None:
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(kept, out)

    shutil.copytree(baseline.path, kept)
    networks = set()
    for step in every_crash(export, restore):
        assert file_problems(out) == [], step
        networks.add(open_bundle(out).manifest.network)
    assert networks == {"tiny", "new"}
