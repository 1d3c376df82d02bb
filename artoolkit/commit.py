"""Source code of this artoolkit: a version alone does not name a commit between releases."""

from __future__ import annotations

import json
import subprocess
from functools import lru_cache
from importlib import metadata
from pathlib import Path

_CHECKOUT = Path(__file__).parents[1]


def _installed_commit() -> str | None:
    """The commit that pip recorded for an install from a repository (PEP 610)."""
    try:
        text = metadata.distribution("artoolkit").read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return None
    origin = json.loads(text) if text else {}
    commit = origin.get("vcs_info", {}).get("commit_id")
    return str(commit) if commit else None


def checkout_commit(root: Path) -> str | None:
    """HEAD of the repository at `root`, `-dirty` behind it where files differ from it."""
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        run = subprocess.run(
            [*command, "--exclude=*"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return run.stdout.strip() if run.returncode == 0 else None


@lru_cache
def source_commit() -> str | None:
    """The commit of this artoolkit; None for a release from a package index."""
    return checkout_commit(_CHECKOUT) or _installed_commit()
