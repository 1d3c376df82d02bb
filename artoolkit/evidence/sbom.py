"""A bundle as a CycloneDX 1.6 ML-BOM (JSON), which inventories and scanners of others read.

Made from the manifest and the verdicts alone, so that one bundle gives the same bytes each time.
Plain JSON: cyclonedx-python-lib, in whose schema a test validates it, has no model card.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from artoolkit.errors import BundleError
from artoolkit.evidence.bundle import MODEL, Bundle, Manifest, open_bundle
from artoolkit.evidence.contents import file_problems
from artoolkit.evidence.records import read_record
from artoolkit.evidence.seal import canonical
from artoolkit.evidence.signature import bundle_files
from artoolkit.evidence.verdict import Verdict
from artoolkit.files import faults_of

SPEC_VERSION = "1.6"
NETWORK = "network"


def bill_of_materials(path: Path) -> dict[str, Any]:
    """Network, data sets, libraries with versions, and every file of the bundle with its hash.

    Raises `BundleError` for a bundle that is not whole.
    """
    if found := file_problems(path):
        raise BundleError("; ".join(found), hint="Only a whole bundle is described.")
    bundle = open_bundle(path, check_hashes=False)
    verdicts = [read_record(folder / "verdict.json", Verdict) for folder in bundle.proofs]
    with faults_of(f"the provenance in {path}", BundleError):
        return _document(bundle, verdicts)


def _document(bundle: Bundle, verdicts: list[Verdict]) -> dict[str, Any]:
    manifest, files = bundle.manifest, bundle_files(bundle.path)
    parts = [*_files(files), *_libraries(manifest, verdicts)]
    content = {
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "version": 1,
        "metadata": {
            "timestamp": verdicts[0].created if verdicts else manifest.created,
            "tools": {"components": [_library("artoolkit", manifest.artoolkit, "application")]},
            "component": _network(manifest, verdicts, files[MODEL]),
        },
        "components": parts,
        "dependencies": [{"ref": NETWORK, "dependsOn": [part["bom-ref"] for part in parts]}],
    }
    return content | {
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, str(canonical(content)))}"
    }


def _network(manifest: Manifest, verdicts: list[Verdict], sha256: str) -> dict[str, Any]:
    height, width = manifest.target.imgsz
    license_name = _training(manifest).get("license")
    return {
        "bom-ref": NETWORK,
        "type": "machine-learning-model",
        "name": manifest.network,
        "version": manifest.sha256[:16],
        "hashes": _hashes(sha256),
        **({"licenses": [{"license": {"name": str(license_name)}}]} if license_name else {}),
        "modelCard": {
            "modelParameters": {
                "approach": {"type": "supervised"},
                "task": f"semantic segmentation, {manifest.num_classes} classes",
                "architectureFamily": "convolutional neural network",
                "modelArchitecture": manifest.network,
                "datasets": list(_datasets(_training(manifest))),
                "inputs": [{"format": f"image: uint8 N x {height} x {width} x 3, RGB"}],
                "outputs": [{"format": "labels: uint8 N x H x W, ids of the classes"}],
            },
            "quantitativeAnalysis": {"performanceMetrics": list(_accuracy(verdicts))},
        },
        "properties": _properties(
            manifest=manifest.sha256,
            baseline=manifest.baseline,
            checkpoint=manifest.provenance.get("checkpoint"),
            commit=manifest.provenance.get("commit"),
            target=manifest.target.name,
            classes=", ".join(manifest.labels.names),
            verdict=verdicts[0].result if verdicts else None,
        ),
    }


def _training(manifest: Manifest) -> Mapping[str, Any]:
    return dict(manifest.provenance.get("training") or {})


def _datasets(training: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Data that the network was trained and selected on; its fingerprint is over all labels."""
    for role, data in (training.get("data") or {}).items():
        name = f"{training.get('dataset', 'data')}, {role}"
        yield {"type": "dataset", "name": name, "contents": {"properties": _properties(**data)}}


def _accuracy(verdicts: list[Verdict]) -> Iterator[dict[str, str]]:
    """The mIoU in percent that the newest verdict with one measured."""
    for verdict in verdicts:
        for check in verdict.checks:
            if "candidate_miou" in check.numbers:
                yield {"type": "mIoU (%)", "value": f"{float(check.numbers['candidate_miou']):.4f}"}
                return


def _files(files: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for name, sha256 in files.items():
        yield {"bom-ref": f"file:{name}", "type": "file", "name": name, "hashes": _hashes(sha256)}


def _libraries(manifest: Manifest, verdicts: list[Verdict]) -> Iterator[dict[str, Any]]:
    """Each library and version that trained, exported or measured, once."""
    training = _training(manifest)
    used = [("artoolkit", manifest.artoolkit), ("torch", manifest.provenance.get("torch"))]
    used += [(name, training.get(name)) for name in ("artoolkit", "numpy", "torch")]
    for verdict in verdicts:
        environment = verdict.environment
        used += [("artoolkit", environment.artoolkit), *environment.libraries.items()]
    for name, version in sorted({(name, str(version)) for name, version in used if version}):
        yield _library(name, version, "library")


def _library(name: str, version: str, kind: str) -> dict[str, Any]:
    # A local version ("2.13.0+cpu") is escaped in a package URL.
    purl = f"pkg:pypi/{name.replace('_', '-')}@{version.replace('+', '%2B')}"
    found = {"type": kind, "name": name, "version": version, "purl": purl}
    return found | ({"bom-ref": purl} if kind == "library" else {})


def _hashes(sha256: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": sha256}]


def _properties(**values: Any) -> list[dict[str, str]]:
    return [
        {"name": f"artoolkit:{name}", "value": str(value)}
        for name, value in values.items()
        if value is not None
    ]
