"""The bundle's promises: whole, chained, and one changed byte is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from artoolkit.errors import BundleError
from artoolkit.evidence.bundle import Bundle, file_problems, open_bundle, write_bundle
from artoolkit.evidence.seal import seal
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
    made.add_evidence("verdict.json", b"{}")
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
        BundleError, match=r"target\.head is no head any more: export again, got .sparse"
    ):
        open_bundle(bundle.path)


def test_a_taken_path_is_refused_and_kept(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="already there"):
        make(bundle.path)
    assert file_problems(bundle.path) == []
    make(bundle.path, overwrite=True)
    (tmp_path / "notes").mkdir()
    with pytest.raises(BundleError, match="is not a bundle"):
        make(tmp_path / "notes", overwrite=True)


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is not a bundle"):
        make(tmp_path / "bundle", baseline=tmp_path)
    assert not (tmp_path / "bundle").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["source.onnx"]
