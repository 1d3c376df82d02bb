"""Environments of their own for what must not lie in the project's, made once and kept."""

from __future__ import annotations

import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"


@pytest.fixture(scope="session")
def python_with(request: pytest.FixtureRequest) -> Callable[..., Path]:
    """`python_with("colcon", "colcon-core", ...)`: the Python of an environment in pytest's cache.

    Skips the test where pip cannot fetch the packages.
    """

    def made(name: str, *packages: str) -> Path:
        version = f"{sys.version_info.major}{sys.version_info.minor}"
        folder = Path(request.config.cache.mkdir(name)) / version
        python = folder / "bin" / "python"
        if not (folder / "whole").exists():
            venv.create(folder, clear=True)
            pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
            ran = subprocess.run(
                [*pip, "-c", str(CONSTRAINTS), *packages], capture_output=True, text=True,
                timeout=600, check=False,
            )  # fmt: skip
            if ran.returncode:
                last = ran.stderr.strip().splitlines()[-1]
                pytest.skip(f"pip cannot fetch {' '.join(packages)}: {last}")
            (folder / "whole").touch()
        return python

    return made
