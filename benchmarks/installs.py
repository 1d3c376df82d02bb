"""What pip would install for each extra on other machines and Pythons: wheels alone, no compiler.

    python benchmarks/installs.py

A dry run for the platform tags of x86-64 and aarch64; nothing is downloaded but metadata. Left out
are torch (its requirements differ from index to index), what a JetPack brings, and TensorRT's own
libraries, which PyPI has no wheel of: each row names them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import click
from packaging.requirements import Requirement
from suite import is_measured, run_suite, shared_options

from artoolkit.errors import MissingLibraryError
from artoolkit.spec import read_toml

SUITE = "installs"
PROJECT = read_toml(Path(__file__).parent.parent / "pyproject.toml", "project")["project"]
EXTRAS = PROJECT["optional-dependencies"]
NAMES = tuple(EXTRAS)
PYTHONS = {"x86_64": ("3.10", "3.11", "3.12", "3.13"), "aarch64": ("3.10", "3.12")}
# Published as a source of no code that asks for wheels; a dry run takes wheels alone. Their -libs
# stand on NVIDIA's index, but for RTX's.
METAPACKAGES = {
    "tensorrt": ("tensorrt-cu13-bindings",),
    "tensorrt-cu12": ("tensorrt-cu12-bindings",),
    "tensorrt-cu13": ("tensorrt-cu13-bindings",),
    "tensorrt-rtx-cu13": ("tensorrt-rtx-cu13-bindings", "tensorrt-rtx-cu13-libs"),
}
GLIBC = (17, 24, 26, 27, 28)


def wanted(extra: str, machine: str, python: str) -> list[str]:
    """Requirements that hold there: pip reads markers for the Python that runs it."""
    there = {
        "python_version": python, "platform_machine": machine, "sys_platform": "linux",
        "platform_system": "Linux", "extra": "",
    }  # fmt: skip
    lines = [*PROJECT["dependencies"], *EXTRAS[extra]]
    found: list[str] = []
    for need in map(Requirement, lines):
        if need.name == "artoolkit":
            found += [one for inner in need.extras for one in wanted(inner, machine, python)]
        elif need.name != "torch" and (need.marker is None or need.marker.evaluate(there)):
            parts = METAPACKAGES.get(need.name, (need.name,))
            found += [f"{part}{need.specifier}" for part in parts]
    return list(dict.fromkeys(found))


def resolved(extra: str, machine: str, python: str) -> dict[str, Any]:
    """Versions by name; `MissingLibraryError` with pip's last line where there is no answer."""
    platforms = [f"manylinux_2_{n}_{machine}" for n in GLIBC] + [f"manylinux2014_{machine}"]
    needs = wanted(extra, machine, python)
    answer = subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet",
            "--report", "-", "--python-version", python, "--only-binary=:all:", "--target", "/none",
            *(part for p in platforms for part in ("--platform", p)),
            *needs,
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if answer.returncode != 0:
        raise MissingLibraryError(answer.stderr.strip().splitlines()[-1])
    items = (item["metadata"] for item in json.loads(answer.stdout)["install"])
    return {
        "versions": {item["name"].lower(): item["version"] for item in items},
        "elsewhere": [
            need.partition("-bindings")[0] + "-libs"
            for need in needs
            if need.startswith(("tensorrt-cu12-", "tensorrt-cu13-"))
        ],
    }


def table(raw: dict[str, Any]) -> list[str]:
    """Markdown: an extra per line; where its wheels resolve, and what PyPI lacks of it."""
    columns = [f"{machine} {python}" for machine, several in PYTHONS.items() for python in several]
    lines = ["| extra | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for extra in NAMES:
        cells = [raw.get(f"{extra} {column}") for column in columns]
        words = ["" if not cell else _word(cell) for cell in cells]
        lines.append(f"| {extra} | " + " | ".join(words) + " |")
    return lines


def _word(cell: dict[str, Any]) -> str:
    if not is_measured(cell):
        return "no wheel"
    elsewhere = cell.get("elsewhere")  # rows from before it was told lacked nothing
    return " ".join(("yes, but for", *elsewhere)) if elsewhere else "yes"


@click.command()
@click.option("--extra", "extras", multiple=True, default=NAMES, help="Which, of all.")
@shared_options
def main(*, extras: tuple[str, ...], machine: str, again: bool) -> None:
    """Resolve each extra for each machine and Python; see the top of this file."""
    cases = {
        f"{extra} {there} {python}": partial(resolved, extra, there, python)
        for extra in extras
        for there, pythons in PYTHONS.items()
        for python in pythons
    }
    settings = {"glibc": GLIBC, "pythons": PYTHONS}
    click.echo(
        run_suite(SUITE, cases, machine=machine, device="pip", settings=settings, again=again)
    )


if __name__ == "__main__":
    main()
