"""The bill of materials of a bundle: valid by CycloneDX's own schema, and true."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from judged import judged_bundle
from referencing import Registry, Resource

from artoolkit.cli import run
from artoolkit.errors import BundleError
from artoolkit.evidence.bundle import Bundle
from artoolkit.evidence.sbom import bill_of_materials
from artoolkit.evidence.seal import file_sha256


def schema(name: str) -> dict[str, Any]:
    content = resources.files("cyclonedx.schema._res").joinpath(f"{name}.SNAPSHOT.schema.json")
    found: dict[str, Any] = json.loads(content.read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return judged_bundle(tmp_path_factory.mktemp("sbom"))


@pytest.fixture(scope="module")
def validator() -> Draft7Validator:
    others = [(s["$id"], Resource.from_contents(s)) for s in map(schema, ("spdx", "jsf-0.82"))]
    return Draft7Validator(schema("bom-1.6"), registry=Registry().with_resources(others))


def test_the_command_writes_what_the_public_schema_accepts(
    bundle: Bundle, validator: Draft7Validator, tmp_path: Path
) -> None:
    out = tmp_path / "bundle.cdx.json"
    assert run(["sign", str(bundle.path), "--sbom", str(out)]) == 0
    written = json.loads(out.read_bytes())
    assert [error.message for error in validator.iter_errors(written)] == []
    assert list(validator.iter_errors(written | {"specVersion": 16})), "the schema refuses"
    again = tmp_path / "again.json"
    assert run(["sign", str(bundle.path), "--sbom", str(again)]) == 0
    assert again.read_bytes() == out.read_bytes()


def test_it_names_the_network_its_data_the_libraries_and_every_file(bundle: Bundle) -> None:
    found = bill_of_materials(bundle.path)
    network = found["metadata"]["component"]
    assert (network["type"], network["name"]) == ("machine-learning-model", "tiny")
    (data,) = network["modelCard"]["modelParameters"]["datasets"]
    assert {p["name"]: p["value"] for p in data["contents"]["properties"]} == {
        "artoolkit:images": "6", "artoolkit:sha256": "3" * 64
    }  # fmt: skip
    (metric,) = network["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert 0 < float(metric["value"]) < 100
    here = {
        path.relative_to(bundle.path).as_posix(): file_sha256(path)
        for path in bundle.path.rglob("*")
        if path.is_file()
    }
    files = {
        c["name"]: c["hashes"][0]["content"] for c in found["components"] if c["type"] == "file"
    }
    assert files == here
    libraries = {c["name"]: c["purl"] for c in found["components"] if c["type"] == "library"}
    assert {"artoolkit", "numpy", "onnxruntime"} <= libraries.keys()
    assert libraries["numpy"].startswith("pkg:pypi/numpy@")
    refs = {c["bom-ref"] for c in found["components"]}
    assert len(refs) == len(found["components"])
    assert set(found["dependencies"][0]["dependsOn"]) == refs


def test_a_bundle_that_is_not_whole_has_none_and_none_lies_in_a_bundle(
    bundle: Bundle, tmp_path: Path
) -> None:
    assert run(["sign", str(bundle.path), "--sbom", str(bundle.path / "x.json")]) == 2
    content = bundle.model.read_bytes()
    bundle.model.write_bytes(content + b"x")
    with pytest.raises(BundleError, match="Only a whole bundle"):
        bill_of_materials(bundle.path)
    bundle.model.write_bytes(content)
