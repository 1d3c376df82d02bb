"""A delta makes the other bundle byte by byte, and refuses whatever it was not made for."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny import tiny_bundle

from artoolkit.checks.verify import verify
from artoolkit.errors import BundleError, UsageError
from artoolkit.evidence.bundle import Bundle, open_bundle, write_bundle
from artoolkit.evidence.delta import RECORD, read_delta, refit_bundle, write_delta


def contents(path: Path) -> dict[str, bytes]:
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def with_baseline(out: Path, candidate: Bundle, baseline: Bundle) -> Bundle:
    """The candidate exported with its baseline inside, and a verdict's folder."""
    known, golden = candidate.manifest, candidate.golden()
    made = write_bundle(
        out, model=candidate.model, golden_images=golden["images"], golden_labels=golden["labels"],
        network=known.network, labels=known.labels, preprocess=known.preprocess,
        target=known.target, trained=known.trained, provenance={}, baseline=baseline.path,
    )  # fmt: skip
    made.add_proof({"verdict.json": b"{}", "latency.json": b"[1.5]"}, "somewhere")
    return made


def test_it_makes_the_bundle_byte_by_byte_without_onnx(
    tmp_path: Path, baseline: Bundle, candidate: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setitem(sys.modules, "torch", None)
    delta = write_delta(baseline.path, candidate.path, tmp_path / "d")
    made = refit_bundle(baseline.path, tmp_path / "d", tmp_path / "made")
    assert contents(made.path) == contents(candidate.path)
    assert verify(made).result == "PASS"
    assert delta.trained == 1
    with np.load(tmp_path / "d") as arrays:
        assert arrays["model.onnx/conv.weight"].shape == (3, 3, 3, 3)
        assert arrays["model.onnx/conv.weight"].dtype == np.float32
        # The images are those of both, so that only the labels travel.
        assert arrays["golden.npz"].nbytes < (candidate.path / "golden.npz").stat().st_size / 2
    assert read_delta(tmp_path / "d").record == delta.record


@pytest.mark.parametrize("holds_baseline", [False, True])
def test_baseline_verdicts_and_signature_travel_and_engines_stay(
    tmp_path: Path, baseline: Bundle, candidate: Bundle, holds_baseline: bool
) -> None:
    """The device holds the baseline alone, or an earlier candidate with the baseline inside."""
    whole = with_baseline(tmp_path / "whole", candidate, baseline)
    earlier = tiny_bundle(tmp_path / "seed2", seed=2)
    held = with_baseline(tmp_path / "held", earlier, baseline) if holds_baseline else baseline
    (whole.path / "signature.json").write_bytes(b"{}")
    delta = write_delta(held.path, whole.path, tmp_path / "d")
    assert delta.trained == 1  # none of the baseline's
    made = refit_bundle(held.path, tmp_path / "d", tmp_path / "made")
    assert contents(made.path) == contents(whole.path)
    assert made.baseline is not None and len(made.proofs) == 1


def test_a_signed_bundle_with_engines_has_no_delta(
    tmp_path: Path, baseline: Bundle, candidate: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("artoolkit.evidence.delta.file_problems", lambda path: [])
    candidate.engines.mkdir()
    (candidate.engines / "a.plan").touch()
    made = write_delta(baseline.path, candidate.path, tmp_path / "d")
    assert not any(name.startswith("engines") for name in made.record.files)
    (candidate.path / "signature.json").touch()
    with pytest.raises(BundleError, match="signed and has engines"):
        write_delta(baseline.path, candidate.path, tmp_path / "d")


def test_another_program_is_refused(tmp_path: Path, baseline: Bundle) -> None:
    other = tiny_bundle(tmp_path / "other", extra_node=True)
    with pytest.raises(BundleError, match=r"another program than .* See: artoolkit compare"):
        write_delta(baseline.path, other.path, tmp_path / "d")
    assert not (tmp_path / "d").exists()


def test_a_bundle_that_is_not_whole_is_refused(
    tmp_path: Path, baseline: Bundle, candidate: Bundle
) -> None:
    candidate.model.write_bytes(candidate.model.read_bytes()[:-1])
    with pytest.raises(BundleError, match="was changed"):
        write_delta(baseline.path, candidate.path, tmp_path / "d")


def test_a_delta_of_another_bundle_is_refused(
    tmp_path: Path, baseline: Bundle, candidate: Bundle
) -> None:
    write_delta(baseline.path, candidate.path, tmp_path / "d")
    with pytest.raises(BundleError, match="belongs to another bundle"):
        refit_bundle(candidate.path, tmp_path / "d", tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_one_changed_byte_anywhere_is_found(
    tmp_path: Path, baseline: Bundle, candidate: Bundle
) -> None:
    whole = tmp_path / "d"
    write_delta(baseline.path, candidate.path, whole)
    content, hurt = whole.read_bytes(), tmp_path / "hurt"
    expected, refused = contents(candidate.path), 0
    for place in range(7, len(content), 97):
        hurt.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        try:
            made = refit_bundle(baseline.path, hurt, tmp_path / "made")
        except BundleError as error:
            refused += 1
            assert "\n" not in str(error) and not (tmp_path / "made").exists()
        else:  # a byte of the archive that nobody reads, such as a time
            assert contents(made.path) == expected
            shutil.rmtree(made.path)
    assert refused > 20
    hurt.write_bytes(content[: len(content) // 2])
    with pytest.raises(BundleError, match="cannot be read"):
        refit_bundle(baseline.path, hurt, tmp_path / "made")


@pytest.mark.parametrize("change", ["values", "missing", "outside", "no record"])
def test_a_delta_that_was_written_anew_is_refused(
    tmp_path: Path, baseline: Bundle, candidate: Bundle, change: str
) -> None:
    write_delta(baseline.path, candidate.path, tmp_path / "d")
    arrays = dict(read_delta(tmp_path / "d").arrays)
    if change == "values":
        arrays["model.onnx/conv.weight"] = np.zeros_like(arrays["model.onnx/conv.weight"])
        message = "is damaged: it does not make model.onnx"
    elif change == "missing":
        del arrays["golden.npz"]
        message = "delta .* cannot be read"
    else:
        record = arrays[RECORD].tobytes().replace(b'"golden.npz"', b'"../olden.x"')
        arrays[RECORD] = np.frombuffer(record, np.uint8)
        message = "its record was changed"
        if change == "no record":
            del arrays[RECORD]
            message = "cannot be read"
    np.savez(tmp_path / "again.npz", **arrays)
    with pytest.raises(BundleError, match=message):
        refit_bundle(baseline.path, tmp_path / "again.npz", tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_a_record_cannot_name_a_place_outside(
    tmp_path: Path, baseline: Bundle, candidate: Bundle
) -> None:
    record = write_delta(baseline.path, candidate.path, tmp_path / "d").record
    for name in ("../x", "/x", "a//b", "evidence\\x"):
        values = record.model_dump() | {"files": {name: {"sha256": "0" * 64}}}
        with pytest.raises(ValueError, match="lies outside of a bundle"):
            type(record).model_validate(values)
    values = record.model_dump() | {"files": {"x": {"sha256": "0" * 64, "source": "../y"}}}
    with pytest.raises(ValueError, match="lies outside of a bundle"):
        type(record).model_validate(values)


def test_a_place_that_is_taken_is_kept(tmp_path: Path, baseline: Bundle, candidate: Bundle) -> None:
    write_delta(baseline.path, candidate.path, tmp_path / "d")
    with pytest.raises(UsageError, match="is already there"):
        refit_bundle(baseline.path, tmp_path / "d", candidate.path)
    made = refit_bundle(baseline.path, tmp_path / "d", candidate.path, overwrite=True)
    assert made.manifest == open_bundle(candidate.path).manifest
