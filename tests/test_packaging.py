"""What users install: a wheel that needs no torch, and ranges that resolve on a robot's Python."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
GLIBC = (17, 24, 26, 27, 28, 31, 34, 35)  # JetPack 6 and 7 have 2.35 and 2.39

IMPORT_ALL = """
import importlib, pkgutil, sys
import artoolkit
skipped = {"artoolkit.networks", "artoolkit.losses", "artoolkit.training", "artoolkit.deploy"}
skipped |= {f"artoolkit.graph.{name}" for name in ("canonical", "identity", "relation")}
skipped |= {"artoolkit.backends.torch.runner", "artoolkit.exporting"}
def walk(package):
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        if module.name in skipped:
            continue
        yield module.name
        if module.ispkg:
            yield from walk(importlib.import_module(module.name))
names = list(walk(artoolkit))
for name in names:
    importlib.import_module(name)
assert not {"torch", "onnx", "scipy"} & set(sys.modules)
print(len(names))
"""


def run(python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"COLUMNS": "100"}
    return subprocess.run(
        [str(python), *arguments],
        capture_output=True, text=True, env=environment, cwd="/", check=False,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.xdist_group("environments")
def test_a_base_install_imports_everything_that_needs_no_torch(base_python: Path) -> None:
    assert run(base_python, "-c", "import torch").returncode == 1
    found = run(base_python, "-c", IMPORT_ALL)
    assert found.returncode == 0, found.stderr
    assert int(found.stdout) > 20


@pytest.mark.slow
@pytest.mark.xdist_group("environments")
def test_a_base_install_shows_every_help(base_python: Path) -> None:
    from artoolkit.cli import VERBS

    for verb in ((), *((name,) for name in VERBS)):
        shown = run(base_python, "-m", "artoolkit", *verb, "--help")
        assert shown.returncode == 0, shown.stderr
        assert shown.stdout.startswith("Usage:"), verb


@pytest.mark.slow
@pytest.mark.xdist_group("environments")
def test_a_base_install_answers_doctor_and_finds_its_targets(base_python: Path) -> None:
    answer = run(base_python, "-m", "artoolkit", "doctor", "--json")
    assert answer.returncode == 0, answer.stderr
    abilities = {a["name"]: a for a in json.loads(answer.stdout)["abilities"]}
    assert abilities["check and read data sets"]["available"]
    assert not abilities["train and fine-tune"]["available"]
    assert "artoolkit[train]" in abilities["train and fine-tune"]["reason"]
    listed = run(base_python, "-c", "from artoolkit.targets import find_target as f; f('cpu')")
    assert listed.returncode == 0, listed.stderr


@pytest.mark.slow
@pytest.mark.xdist_group("environments")
def test_a_base_install_names_the_steps_of_the_gpu_suite(base_python: Path, tmp_path: Path) -> None:
    asked = ("benchmark", "--suite", "gpu", "--dry-run", "--out", str(tmp_path / "out"))
    answer = run(base_python, "-m", "artoolkit", *asked)
    assert answer.returncode == 0, answer.stderr
    assert "icnet fp16 tensorrt controlled pair" in answer.stdout.splitlines()
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.xdist_group("environments")
def test_what_needs_torch_says_so_in_one_line(base_python: Path, tmp_path: Path) -> None:
    answer = run(
        base_python, "-m", "artoolkit", "export", "--untrained", "icnet",
        "--num-classes", "19", "--out", str(tmp_path / "bundle"),
    )  # fmt: skip
    assert answer.returncode == 8
    assert len(answer.stderr.strip().splitlines()) == 1
    assert 'pip install "artoolkit[train]"' in answer.stderr


def for_robot(lines: list[str], machine: str) -> list[str]:
    """The requirements that hold there: pip reads markers for the Python that runs it."""
    there = {"python_version": "3.10", "platform_machine": machine, "sys_platform": "linux"}
    parsed = [Requirement(line) for line in lines if not line.startswith("#")]
    kept = [r for r in parsed if r.marker is None or r.marker.evaluate(there)]
    return [f"{r.name}{r.specifier}" for r in kept]


def resolve(machine: str, requirements: list[str], folder: Path, *options: str) -> list[str]:
    """Names that pip would install for Python 3.10 on `machine`, nothing downloaded or built."""
    pins = folder / "constraints.txt"
    pins.write_text(
        "\n".join(for_robot((ROOT / "constraints.txt").read_text().splitlines(), machine))
    )
    platforms = [f"manylinux_2_{n}_{machine}" for n in GLIBC] + [f"manylinux2014_{machine}"]
    answer = subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet",
            "--report", "-", "--python-version", "3.10", "--only-binary=:all:", "--target", "/none",
            *(part for p in platforms for part in ("--platform", p)),
            "-c", str(pins), *options, *for_robot(requirements, machine),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr[-2000:]
    return [item["metadata"]["name"] for item in json.loads(answer.stdout)["install"]]


@pytest.mark.slow
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_everything_resolves_on_python_3_10(machine: str, tmp_path: Path) -> None:
    extras = PROJECT["optional-dependencies"]
    # torch's own requirements differ from index to index (CPU, CUDA); its wheel must exist.
    own_index = ("torch",)
    wanted = [*PROJECT["dependencies"], *extras["train"], *extras["cpu"], *extras["sign"]]
    rest = [name for name in wanted if not name.startswith(own_index)]
    assert {"numpy", "onnxruntime", "tomli", "scipy"} <= set(resolve(machine, rest, tmp_path))
    alone = [name for name in wanted if name.startswith(own_index)]
    assert set(resolve(machine, alone, tmp_path, "--no-deps")) == set(own_index)


def test_cpu_and_gpu_extras_are_never_mixed() -> None:
    extras = PROJECT["optional-dependencies"]
    assert "all" not in extras
    assert not any("onnxruntime" in need for need in (*extras["train"], *extras["tensorrt"]))


def test_every_constraint_names_a_dependency_of_ours() -> None:
    text = (ROOT / "pyproject.toml").read_text().lower()
    transitive = {"ml_dtypes", "onnx-ir", "protobuf", "pip"}  # kept still for reproducible exports
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        name = line.split("==")[0].lower()
        assert line.startswith("#") or name in transitive or f'"{name}' in text, line
