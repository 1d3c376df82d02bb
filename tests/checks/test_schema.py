"""Records keep to the schemas that are made from their models."""

from __future__ import annotations

import json

import jsonschema
import pytest
from cost.test_benchmark import measured
from judged import judged_bundle

from artoolkit.checks.schema import SCHEMAS, schema_of
from artoolkit.cost.benchmark import BenchmarkSettings
from artoolkit.evidence.bundle import Bundle


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_names_kind_and_version_and_closes_the_record(name: str) -> None:
    schema = schema_of(name)
    kind, version = name.rsplit("-", 1)
    assert schema["properties"]["schema_version"]["const"] == version
    assert schema["additionalProperties"] is False
    assert "sha256" in schema["required"]
    if kind not in ("manifest", "engine"):
        assert schema["properties"]["kind"]["const"] == kind


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return judged_bundle(tmp_path_factory.mktemp("schema"))


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("manifest-1", "manifest.json"),
        ("verdict-2", "evidence/*/verdict.json"),
        ("latency-3", "evidence/*/latency.json"),
        ("graph-1", "evidence/*/graph.json"),
        ("graph-1", "evidence/*/parts.json"),
        ("program-1", "evidence/*/program.json"),
        ("outputs-1", "evidence/*/outputs.json"),
        ("memory-1", "evidence/*/memory-candidate.json"),
        ("quality-1", "evidence/*/quality-candidate.json"),
        ("engine-1", "engines/engine.json"),
    ],
)
def test_what_is_written_keeps_to_its_schema(judged: Bundle, name: str, file: str) -> None:
    validator = jsonschema.Draft202012Validator(schema_of(name))
    (path,) = judged.path.glob(file)
    values = json.loads(path.read_bytes())
    assert [error.message for error in validator.iter_errors(values)] == []
    assert list(validator.iter_errors(values | {"schema_version": "0"}))
    assert list(validator.iter_errors(values | {"unknown": 1}))


def test_a_benchmark_keeps_to_its_schema() -> None:
    validator = jsonschema.Draft202012Validator(schema_of("performance-1"))
    values = json.loads(measured(BenchmarkSettings(duration_s=0)).to_bytes())
    assert [error.message for error in validator.iter_errors(values)] == []
    assert list(validator.iter_errors(values | {"samples": "none"}))
