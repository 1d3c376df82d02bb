"""The JSON schema of `artoolkit report --json`, beside those of the records that it is made from.

`python -m artoolkit.report.schema` writes it again after a model changed; a test compares.
"""

from __future__ import annotations

from pathlib import Path

from artoolkit.checks.schema import packaged_schema, write_schemas
from artoolkit.report.content import ReportContent
from artoolkit.spec import Frozen

SCHEMAS: dict[str, type[Frozen]] = {"report-2": ReportContent}
PACKAGE = "artoolkit.report"


def packaged() -> bytes:
    """The schema file that came with artoolkit."""
    return packaged_schema("report-2", PACKAGE)


if __name__ == "__main__":
    write_schemas(Path(__file__).parent / "schemas", SCHEMAS)
