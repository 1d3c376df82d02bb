"""JSON schemas of everything that artoolkit writes as evidence, one per kind and version.

They are made from the models when they are asked for; `python -m artoolkit.report.schema` writes
them all. A changed meaning needs a new version: files of another version are refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from artoolkit.backends.tensorrt.sidecar import Sidecar
from artoolkit.checks.registry import CHECKS
from artoolkit.cost.benchmark import BenchmarkMeasurement
from artoolkit.cost.roofline import RooflineMeasurement
from artoolkit.evidence.bundle import Manifest
from artoolkit.evidence.records import Record
from artoolkit.evidence.verdict import Verdict
from artoolkit.spec import Frozen

SCHEMAS: dict[str, type[Frozen]] = {
    "manifest-1": Manifest,
    "verdict-2": Verdict,
    **{
        f"{record.KIND}-{record.VERSION}": record
        for kind in CHECKS
        for record in kind.records.values()
    },
    "performance-1": BenchmarkMeasurement,
    "roofline-1": RooflineMeasurement,
    "engine-1": Sidecar,
}
_SHA256 = {
    "type": "string",
    "pattern": "^[0-9a-f]{64}$",
    "description": "sha256 of this file in canonical form (sorted keys, two spaces) without "
    "this key.",
}


def schema_of(name: str, models: Mapping[str, type[Frozen]] = SCHEMAS) -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of `verdict-1` and its like, made from the model."""
    model = models[name]
    schema = model.model_json_schema()
    if issubclass(model, Record):
        schema["properties"] |= {
            "kind": {"const": model.KIND},
            "schema_version": {"const": model.VERSION},
        }
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = f"artoolkit {name}"
    schema["properties"]["sha256"] = _SHA256
    schema["required"] = sorted({*schema["required"], "sha256"})
    return schema
