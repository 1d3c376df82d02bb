"""Compiled models beside a bundle: one blob for two builds, and none that is not this machine's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tiny import tiny_bundle

from artoolkit.backends import open_runner
from artoolkit.checks.verify import check_files
from artoolkit.cli import main
from artoolkit.errors import EngineError, UsageError
from artoolkit.evidence.bundle import Bundle, write_bundle
from artoolkit.evidence.seal import write_sealed
from artoolkit.optional import is_installed

pytestmark = pytest.mark.skipif(not is_installed("openvino"), reason="openvino is not installed")


def build(bundle: Bundle, *options: str) -> tuple[Path, Path]:
    ran = CliRunner().invoke(main, ["build", str(bundle.path), *options], catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    (blob,) = bundle.engines.glob("*.blob")
    assert f"engine: {blob}, {blob.stat().st_size:,} bytes" in ran.output
    return blob, blob.with_suffix(".json")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    bundle = tiny_bundle(tmp_path_factory.mktemp("blob") / "b", backend="openvino")
    build(bundle)
    return bundle


def change(sidecar: Path, **values: object) -> None:
    """The sidecar with other values, sealed again."""
    record = json.loads(sidecar.read_text()) | values
    del record["sha256"]
    write_sealed(sidecar, record)


@pytest.fixture
def sidecar(built: Bundle):
    """The sidecar; what a test makes of it is undone."""
    (path,) = built.engines.glob("*.json")
    before = path.read_bytes()
    yield path
    path.write_bytes(before)


def test_a_blob_gives_the_golden_labels_on_any_number_of_threads(built: Bundle) -> None:
    golden = built.golden()
    with open_runner(built, threads=2) as runner:
        assert runner.spec.settings["plan"].endswith(".blob")
        assert runner.spec.settings["inference_num_threads"] == 2
        assert (*runner.spec.inputs, *runner.spec.outputs) == built.manifest.target.tensors
        labels = runner.infer(golden["images"][:1])["labels"]
    assert np.array_equal(labels, golden["labels"][:1])


def test_two_builds_give_the_same_bytes(built: Bundle) -> None:
    (blob,) = built.engines.glob("*.blob")
    before = blob.read_bytes()
    again, sidecar = build(built)
    assert again == blob and again.read_bytes() == before
    assert json.loads(sidecar.read_text())["manifest"] == built.manifest.sha256


def test_verify_lists_it_and_names_one_that_was_changed(built: Bundle) -> None:
    (blob,) = built.engines.glob("*.blob")
    whole = check_files(built.path)
    assert whole.result == "PASS" and blob.name in whole.details[0]
    before = blob.read_bytes()
    blob.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    try:
        changed = check_files(built.path)
        assert changed.result == "FAIL" and blob.name in changed.numbers["problems"][0]
        with pytest.raises(EngineError, match="was changed: its sha256"):
            open_runner(built)
    finally:
        blob.write_bytes(before)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"library_version": "2025.1"}, r"compiled by OpenVINO 2025\.1; this machine has 20"),
        ({"processor": "Z80"}, r"compiled for Z80 .*this is "),
        ({"capabilities": ["FP32"]}, r"\(FP32\); this is "),
        ({"manifest": "0" * 64}, "compiled from another bundle"),
        ({"plan_bytes": "many"}, "is not valid"),
    ],
)
def test_a_foreign_or_stale_one_is_named(built, sidecar, values, words) -> None:
    change(sidecar, **values)
    with pytest.raises(EngineError, match=words) as error:
        open_runner(built)
    if "manifest" not in values and "plan_bytes" not in values:
        assert "artoolkit build" in str(error.value)


def test_a_blob_of_another_device_is_left_alone(built, sidecar) -> None:
    change(sidecar, device="gpu")
    with open_runner(built) as runner:
        assert "plan" not in runner.spec.settings


def test_one_without_a_sidecar_is_named(built, sidecar) -> None:
    sidecar.unlink()
    with pytest.raises(EngineError, match="has no sidecar"):
        open_runner(built)


def test_an_option_of_another_library_is_refused(built: Bundle) -> None:
    ran = CliRunner().invoke(main, ["build", str(built.path), "--opt-level", "3"])
    assert ran.exit_code == UsageError.exit_code
    assert "builds without opt_level" in ran.output


def test_a_pair_gets_a_blob_each(tmp_path: Path) -> None:
    base = tiny_bundle(tmp_path / "base", seed=1, backend="openvino")
    other = tiny_bundle(tmp_path / "other", backend="openvino")
    golden, manifest = other.golden(), other.manifest
    pair = write_bundle(
        tmp_path / "pair", model=other.model, golden_images=golden["images"],
        golden_labels=golden["labels"], network="tiny", labels=manifest.labels,
        preprocess=manifest.preprocess, target=manifest.target, trained=manifest.trained,
        provenance={}, baseline=base.path,
    )  # fmt: skip
    blob, _ = build(pair)
    (inner,) = (pair.path / "baseline" / "engines").glob("*.blob")
    assert inner.name == blob.name and inner.read_bytes() != blob.read_bytes()
    assert check_files(pair.path).result == "PASS"
