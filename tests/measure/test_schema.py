"""The packaged schemas are those of the models, and records keep to them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from artoolkit.measure.schema import SCHEMAS, packaged_schema, schema_bytes, schema_of
from artoolkit.measure.verdict import Check, Subject, decide


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_packaged_file_is_up_to_date(name: str) -> None:
    assert packaged_schema(name) == schema_bytes(name), "run: python -m artoolkit.measure.schema"


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_names_kind_and_version_and_closes_the_record(name: str) -> None:
    schema = schema_of(name)
    kind, version = name.rsplit("-", 1)
    assert schema["properties"]["schema_version"]["const"] == version
    assert schema["additionalProperties"] is False
    assert "sha256" in schema["required"]
    if kind != "manifest":
        assert schema["properties"]["kind"]["const"] == kind


def follow(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    return root["$defs"][schema["$ref"].split("/")[-1]] if "$ref" in schema else schema


def test_a_written_verdict_has_the_keys_of_its_schema() -> None:
    subject = Subject(name="a", sha256="0" * 64)
    verdict = decide(
        [Check(name="graph", result="PASS", summary="")],
        baseline=subject, candidate=subject, target={},
    )  # fmt: skip
    values, schema = json.loads(verdict.to_bytes()), schema_of("verdict-1")
    assert set(schema["required"]) <= set(values) == set(schema["properties"])
    check = follow(schema["properties"]["checks"]["items"], schema)
    assert set(values["checks"][0]) == set(check["properties"])
    assert values["checks"][0]["result"] in check["properties"]["result"]["enum"]
