"""What a release is made of: workflows and forms that their services accept, and a citation."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from artoolkit.cli import main

ROOT = Path(__file__).parent.parent
GITHUB = ROOT / ".github"


def check(schema: str, *files: Path) -> None:
    """Holds files to the public schema that check-jsonschema brings with it."""
    pytest.importorskip("check_jsonschema", reason="pip install --group test")
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}",
         *map(str, files)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def printed(service: str, folder: Path) -> Path:
    path = folder / f"{service}.yml"
    path.write_text(CliRunner().invoke(main, ["ci", service]).output)
    return path


def test_workflows_are_valid(tmp_path: Path) -> None:
    files = sorted((GITHUB / "workflows").glob("*.yml"))
    assert {"test", "docs", "wheel", "publish"} <= {file.stem for file in files}
    check("github-workflows", *files, printed("github", tmp_path))
    check("gitlab-ci", printed("gitlab", tmp_path))


def test_forms_and_citation_are_valid() -> None:
    check("github-issue-forms", *(GITHUB / "ISSUE_TEMPLATE" / f"{n}.yml" for n in ("bug", "idea")))
    check("citation-file-format", ROOT / "CITATION.cff")


def test_a_commit_is_checked_with_the_versions_that_ci_tests_with() -> None:
    pins = dict(line.split(";")[0].split("==") for line in
                (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)  # fmt: skip
    text = (ROOT / ".pre-commit-config.yaml").read_text()
    assert f"rev: v{pins['ruff']}" in text
    assert f"rev: {pins['check-jsonschema']}" in text


def test_what_is_published_has_no_relative_link(monkeypatch: pytest.MonkeyPatch) -> None:
    interface = ModuleType("interface")
    interface.MetadataHookInterface = SimpleNamespace  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "hatchling.metadata.plugin.interface", interface)
    hook = runpy.run_path(str(ROOT / "hatch_build.py"))["Addresses"](root=str(ROOT))
    plain: dict[str, Any] = {}
    monkeypatch.delenv("GITHUB_REPOSITORY", raising=False)
    hook.update(plain)
    assert plain["readme"]["text"] == (ROOT / "README.md").read_text(encoding="utf-8")
    monkeypatch.setenv("GITHUB_REPOSITORY", "someone/artoolkit")
    published: dict[str, Any] = {}
    hook.update(published)
    links = re.findall(r"\]\(([^)]*)\)", published["readme"]["text"])
    assert len(links) > 10
    assert all(link.startswith(("https://", "#")) for link in links)
    assert published["urls"].keys() > plain["urls"].keys()
