"""The bundle's promises: whole, chained, and one changed byte is named."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from crashing import every_crash

from artoolkit.errors import BundleError, UsageError
from artoolkit.evidence.bundle import INDEX, UNFINISHED, Bundle, open_bundle, write_bundle
from artoolkit.evidence.contents import file_problems
from artoolkit.evidence.engines import engine_files
from artoolkit.evidence.seal import file_sha256, read_sealed, seal, write_sealed
from artoolkit.evidence.signature import bundle_files
from artoolkit.labels import LabelTable
from artoolkit.preprocess import Preprocess
from artoolkit.spec import Target

LABELS = LabelTable(
    name="tiny", names=("road", "sky"), colors=((128, 64, 128), (70, 130, 180)), file_ids=(7, 23)
)


def make(out: Path, *, baseline: Path | None = None, overwrite: bool = False) -> Bundle:
    model = out.parent / "source.onnx"
    model.write_bytes(b"a graph with weights")
    return write_bundle(
        out,
        model=model,
        golden_images=np.arange(2 * 4 * 6 * 3, dtype=np.uint8).reshape(2, 4, 6, 3),
        golden_labels=np.zeros((2, 4, 6), np.uint8),
        network="icnet",
        labels=LABELS,
        preprocess=Preprocess(),
        target=Target(name="cpu", imgsz=(4, 6)),
        trained=("conv.weight",),
        provenance={"command": "artoolkit export"},
        baseline=baseline,
        overwrite=overwrite,
    )


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    made = make(tmp_path / "bundle", baseline=make(tmp_path / "base").path)
    made.add_proof({"verdict.json": b"{}"}, "machine")
    return made


def test_a_written_bundle_opens_with_what_was_put_in(bundle: Bundle) -> None:
    again = open_bundle(bundle.path)
    assert again.manifest.labels == LABELS
    assert again.manifest.target.imgsz == (4, 6)
    assert again.golden()["images"].shape == (2, 4, 6, 3)
    assert again.baseline is not None
    assert again.baseline.manifest.sha256 == again.manifest.baseline
    assert file_problems(bundle.path) == []


def _files(root: Path) -> list[str]:
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())


def test_one_byte_of_any_file_is_found_and_named(bundle: Bundle) -> None:
    names = _files(bundle.path)
    assert len(names) == 8
    for name in names:
        path = bundle.path / name
        content = path.read_bytes()
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
        assert any(str(path) in line for line in file_problems(bundle.path)), name
        path.write_bytes(content)
    assert file_problems(bundle.path) == []


def test_a_missing_file_is_found_and_named(bundle: Bundle) -> None:
    for name in _files(bundle.path):
        content = (bundle.path / name).read_bytes()
        (bundle.path / name).unlink()
        assert any(Path(name).name in line for line in file_problems(bundle.path)), name
        (bundle.path / name).write_bytes(content)


def test_a_foreign_file_is_found(bundle: Bundle) -> None:
    (bundle.path / "extra.bin").write_bytes(b"?")
    (bundle.evidence / "extra.json").write_bytes(b"?")
    assert len(file_problems(bundle.path)) == 2


def test_evidence_of_another_bundle_is_found(bundle: Bundle, tmp_path: Path) -> None:
    other = make(tmp_path / "other")
    shutil.copytree(bundle.evidence, other.evidence)
    assert "belongs to another bundle" in " ".join(file_problems(other.path))


def test_another_baseline_is_found(bundle: Bundle, tmp_path: Path) -> None:
    shutil.rmtree(bundle.path / "baseline")
    other = make(tmp_path / "other", baseline=None)
    manifest = other.path / "manifest.json"
    values = json.loads(manifest.read_text()) | {"network": "pspnet50"}
    manifest.write_text(json.dumps(seal(values), sort_keys=True, indent=2) + "\n")
    shutil.copytree(other.path, bundle.path / "baseline")
    assert "is not the baseline" in " ".join(file_problems(bundle.path))


def test_opening_names_a_missing_model(bundle: Bundle) -> None:
    bundle.model.unlink()
    with pytest.raises(BundleError, match=r"model\.onnx is missing"):
        open_bundle(bundle.path)


def test_a_folder_that_is_no_bundle_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is not a bundle") as caught:
        open_bundle(tmp_path)
    assert caught.value.exit_code == 6


def test_another_schema_version_is_refused_by_name(bundle: Bundle) -> None:
    manifest = bundle.path / "manifest.json"
    values = json.loads(manifest.read_text()) | {"schema_version": "0"}
    manifest.write_text(
        json.dumps(seal(values), sort_keys=True, indent=2, ensure_ascii=False) + "\n"
    )
    with pytest.raises(BundleError, match="another schema version; got 0; expected 1"):
        open_bundle(bundle.path)


def test_a_head_that_is_gone_is_refused_by_name(bundle: Bundle) -> None:
    manifest = bundle.path / "manifest.json"
    values = json.loads(manifest.read_text())
    values["target"]["head"] = "sparse"
    manifest.write_text(json.dumps(seal(values), sort_keys=True, indent=2) + "\n")
    with pytest.raises(
        BundleError, match=r"target\.head:? is no head any more: export again, got .sparse"
    ):
        open_bundle(bundle.path)


def test_a_taken_path_is_refused_and_kept(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="already there"):
        make(bundle.path)
    assert file_problems(bundle.path) == []
    make(bundle.path, overwrite=True)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").touch()
    with pytest.raises(UsageError, match="is not a bundle"):
        make(tmp_path / "notes", overwrite=True)


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is not a bundle"):
        make(tmp_path / "bundle", baseline=tmp_path)
    assert not (tmp_path / "bundle").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["source.onnx"]


@pytest.mark.parametrize(
    "name",
    ["notes.txt", "engines/deep/x.plan", "evidence/loose.json", "baseline/notes.txt",
     "baseline/evidence/x/verdict.json", "Model.onnx", "model.onnx.data", "empty/", ".hidden"],
)  # fmt: skip
def test_no_path_hides_in_a_bundle(bundle: Bundle, name: str) -> None:
    path = bundle.path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir() if name.endswith("/") else path.write_bytes(b"?")
    found = file_problems(bundle.path)
    assert any(path.name in line or str(path.parent) in line for line in found), found


def test_links_pipes_and_folders_in_the_place_of_files_are_refused(
    bundle: Bundle, tmp_path: Path
) -> None:
    kept = tmp_path / "model.onnx"
    bundle.model.rename(kept)
    bundle.model.symlink_to(kept)
    assert any("model.onnx is a link" in line for line in file_problems(bundle.path))
    bundle.model.unlink()
    os.mkfifo(bundle.model)
    assert any("model.onnx is no file" in line for line in file_problems(bundle.path))
    bundle.model.unlink()
    bundle.model.mkdir()
    assert any("model.onnx" in line for line in file_problems(bundle.path))
    bundle.model.rmdir()
    kept.rename(bundle.model)
    assert file_problems(bundle.path) == []


def test_what_a_killed_build_left_is_no_part_of_the_bundle(bundle: Bundle) -> None:
    bundle.engines.mkdir(exist_ok=True)
    for name in (".engine.plan.partial", ".engine.onnx", ".engine.json.partial"):
        (bundle.engines / name).write_bytes(b"half")
    assert file_problems(bundle.path) == []
    assert engine_files(bundle) == ()
    assert not [name for name in bundle_files(bundle.path) if "engine" in name]


@pytest.mark.parametrize("name", ["engines/a.plan", "evidence/é", "baseline/engines/a.plan"])
def test_names_that_differ_only_in_case_are_refused(bundle: Bundle, name: str) -> None:
    path = bundle.path / name
    path.parent.mkdir(exist_ok=True)
    for one in (path, path.with_name(path.name.upper())):
        one.write_bytes(b"?")
    assert any(f"{path} differs from" in line for line in file_problems(bundle.path))


@pytest.mark.parametrize("name", ["../x", "/etc/hostname", "a/b", "golden.npz ", "MODEL.ONNX"])
def test_a_manifest_cannot_list_what_lies_elsewhere(bundle: Bundle, name: str) -> None:
    manifest = bundle.path / "manifest.json"
    values = json.loads(manifest.read_text())
    values["files"][name] = "0" * 64
    write_sealed(manifest, values)
    (problem,) = file_problems(bundle.path)
    assert "a bundle has the files model.onnx and golden.npz" in problem


def test_an_index_cannot_list_what_lies_elsewhere(bundle: Bundle) -> None:
    folder = bundle.add_proof({"a.json": b"{}"}, "machine")
    values = read_sealed(folder / INDEX)
    values["files"]["../../model.onnx"] = file_sha256(bundle.model)
    write_sealed(folder / INDEX, values)
    assert any("lies elsewhere" in line for line in file_problems(bundle.path))
    for odd in ([], {"manifest": bundle.manifest.sha256}, {"files": 3}):
        write_sealed(folder / INDEX, dict(odd))
        assert any(INDEX in line for line in file_problems(bundle.path))


def test_weights_outside_of_the_onnx_file_are_named(baseline: Bundle) -> None:
    model = onnx.load(baseline.model)
    onnx.save_model(
        model, str(baseline.model), save_as_external_data=True, location="w.bin",
        size_threshold=0, convert_attribute=False,
    )  # fmt: skip
    (baseline.path / "w.bin").unlink()
    values = json.loads((baseline.path / "manifest.json").read_text())
    values["files"]["model.onnx"] = file_sha256(baseline.model)
    write_sealed(baseline.path / "manifest.json", values)
    found = file_problems(baseline.path)
    assert any("conv.weight outside of itself" in line for line in found), found


def test_proofs_are_dated_and_none_is_overwritten(bundle: Bundle) -> None:
    before = len(bundle.proofs)
    first = bundle.add_proof({"a.json": b"1"}, "robot")
    second = bundle.add_proof({"a.json": b"2"}, "robot")
    assert first != second
    assert len(bundle.proofs) == before + 2
    assert bundle.proofs[0] == max(bundle.proofs)
    assert (first / "a.json").read_bytes() == b"1"
    assert file_problems(bundle.path) == []


def test_a_killed_proof_is_there_or_not(baseline: Bundle, tmp_path: Path) -> None:
    kept, counts = tmp_path / "kept", set()
    shutil.copytree(baseline.path, kept)

    def restore() -> None:
        shutil.rmtree(baseline.path)
        shutil.copytree(kept, baseline.path)

    def prove() -> None:
        baseline.add_proof({"a.json": b"1", "b.json": b"2"}, "machine")

    for step in every_crash(prove, restore):
        assert file_problems(baseline.path) == [], step
        counts.add(len(baseline.proofs))
        prove()
        assert file_problems(baseline.path) == [], step
        assert not (baseline.evidence / UNFINISHED).exists()
    assert counts == {0, 1} or counts == {0}


def test_the_verdict_of_an_earlier_artoolkit_is_not_written_over(bundle: Bundle) -> None:
    shutil.rmtree(bundle.evidence)
    bundle.evidence.mkdir()
    (bundle.evidence / "verdict.json").write_bytes(b"{}")
    files = {"verdict.json": file_sha256(bundle.evidence / "verdict.json")}
    write_sealed(bundle.evidence / INDEX, {"manifest": bundle.manifest.sha256, "files": files})
    assert file_problems(bundle.path) == []
    assert bundle.proofs == (bundle.evidence,)
    with pytest.raises(BundleError, match="verdict of an earlier artoolkit"):
        bundle.add_proof({"verdict.json": b"{}"}, "machine")
