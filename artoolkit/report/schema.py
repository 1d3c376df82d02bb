"""Writes the JSON schemas of all records: `python -m artoolkit.report.schema FOLDER`.

Those of the evidence are in `artoolkit.checks.schema`; that of `artoolkit report --json` is added.
"""

from __future__ import annotations

import sys
from pathlib import Path

from artoolkit.checks.schema import SCHEMAS as EVIDENCE
from artoolkit.checks.schema import schema_of
from artoolkit.evidence.seal import canonical
from artoolkit.report.content import ReportContent
from artoolkit.spec import Frozen

SCHEMAS: dict[str, type[Frozen]] = {**EVIDENCE, "report-2": ReportContent}


def write_schemas(folder: Path) -> list[Path]:
    """Writes `<kind>-<version>.json` (draft 2020-12) of every record to `folder`; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.json" for name in SCHEMAS]
    for path in paths:
        path.write_bytes(canonical(schema_of(path.stem, SCHEMAS)))
    return paths


if __name__ == "__main__":
    for written in write_schemas(Path(sys.argv[1] if len(sys.argv) > 1 else "schemas")):
        print(written)
