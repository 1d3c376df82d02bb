"""The fingerprint follows names, labels and order, and nothing else."""

from __future__ import annotations

import hashlib
from pathlib import Path

from artoolkit.data import Sample
from artoolkit.data.fingerprint import fingerprint


def samples(folder: Path, *contents: bytes) -> tuple[Sample, ...]:
    made = []
    for index, content in enumerate(contents):
        label = folder / f"{index}.png"
        label.write_bytes(content)
        made.append(Sample(f"s{index}", folder / f"{index}.jpg", label))
    return tuple(made)


def test_by_hand(tmp_path: Path) -> None:
    found = fingerprint(samples(tmp_path, b"road", b"sky"))
    lines = "".join(
        f"s{index}\t{hashlib.sha256(content).hexdigest()}\n"
        for index, content in enumerate((b"road", b"sky"))
    )
    digest = hashlib.sha256(lines.encode()).hexdigest()
    nothing = hashlib.sha256(b"[]").hexdigest()
    assert found == {"images": 2, "sha256": digest, "image_bytes": 0, "image_sha256": nothing}


def test_another_image_file_shows_in_the_bytes(tmp_path: Path) -> None:
    made = samples(tmp_path, b"road", b"sky")
    for sample, size in zip(made, (3, 5), strict=True):
        sample.image.write_bytes(b"x" * size)
    assert fingerprint(made)["image_bytes"] == 8


def test_other_images_of_the_same_sizes_show(tmp_path: Path) -> None:
    made = samples(tmp_path, b"road", b"sky")
    one, two = (bytes([value]) * 20_000 for value in (1, 2))
    seen = []
    for first, second in ((one, two), (two, one), (one, one), (one, two)):
        made[0].image.write_bytes(first)
        made[1].image.write_bytes(second)
        seen.append(fingerprint(made)["image_sha256"])
    assert len(set(seen)) == 3
    assert seen[0] == seen[3]


def test_another_label_name_or_order_is_another_set(tmp_path: Path) -> None:
    before = fingerprint(samples(tmp_path, b"road", b"sky"))
    one, two = samples(tmp_path, b"road", b"sky")
    assert fingerprint((one, two)) == before
    assert fingerprint((two, one)) != before
    assert fingerprint((one,)) != before
    assert fingerprint(samples(tmp_path, b"road", b"car")) != before


def test_without_a_label_file_the_name_counts(tmp_path: Path) -> None:
    bare = Sample("s0", tmp_path / "0.jpg")
    assert fingerprint((bare,)) == fingerprint((Sample("s0", Path("x"), tmp_path / "none.png"),))
    assert fingerprint((bare,)) != fingerprint((Sample("s1", tmp_path / "0.jpg"),))
