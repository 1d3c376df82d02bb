"""Fixtures of the whole suite; torch on one thread, so that sums keep their order."""

from __future__ import annotations

import re
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny import tiny_bundle

from artoolkit.evidence.bundle import Bundle
from artoolkit.optional import is_installed

if is_installed("torch"):
    import torch

    torch.set_num_threads(1)

# What imports torch or what comes with it in the extra `train`, or a room that does; a helper of
# such tests does so for them.
NEEDS_TORCH = re.compile(
    r"^\s*(from|import) (torch|safetensors|h5py|deploy\.)"
    r"|^\s*(from|import) artoolkit\.(networks|losses|training|deploy|exporting)"
    r"|artoolkit import .*(export|train|load)|^from (streets|tiny_network|small_town|by_function)",
    re.MULTILINE,
)
TORCH_FOLDERS = {
    "deploy",
    "losses",
    "networks",
    "training",
    "e2e",
    "fuzz",
    "benchmarks",
    "trackers",
}


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Without torch, as on a robot, the tests that need it are left out."""
    if is_installed("torch"):
        return None
    if collection_path.is_dir():
        return collection_path.name in TORCH_FOLDERS or None
    return (
        collection_path.name.startswith("test_")
        and NEEDS_TORCH.search(collection_path.read_text()) is not None
    ) or None


ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Gives torch its one thread back where a test, or what it ran, took more."""
    yield
    if is_installed("torch") and torch.get_num_threads() != 1:
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that a user installs, built from this checkout."""
    out = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(out), str(ROOT)]
    subprocess.run(pip, check=True)
    return next(out.glob("artoolkit-*.whl"))


def _environment(folder: Path, requirement: str) -> Path:
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    constraints = ["-c", str(ROOT / "constraints.txt")]
    subprocess.run(
        [str(python), "-m", "pip", "install", "--quiet", *constraints, requirement], check=True
    )
    return python


@pytest.fixture(scope="session")
def base_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of an environment with artoolkit's base install and nothing else."""
    return _environment(tmp_path_factory.mktemp("base"), str(wheel))


@pytest.fixture(scope="session")
def robot_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of an environment with artoolkit[cpu]: ONNX Runtime, no torch, no onnx."""
    return _environment(tmp_path_factory.mktemp("robot"), f"{wheel}[cpu]")


@pytest.fixture
def baseline(tmp_path: Path) -> Bundle:
    """A bundle of a tiny network."""
    return tiny_bundle(tmp_path / "baseline")


@pytest.fixture
def candidate(tmp_path: Path) -> Bundle:
    """The same network with other weights."""
    return tiny_bundle(tmp_path / "candidate", seed=1)
