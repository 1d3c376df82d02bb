"""`artoolkit doctor`: what this machine can do, and for everything else why not and what to do."""

from __future__ import annotations

import ctypes
import ctypes.util
import json
import platform
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import click

from artoolkit.optional import INSTALL, install_command, is_installed

# Ability -> the modules that it needs, all of them; each backend adds its own.
ABILITIES: dict[str, tuple[str, ...]] = {
    "check and read data sets": (),
    "train and fine-tune": ("torch", "safetensors", "cv2"),
    "export to ONNX": ("torch", "safetensors", "onnx", "onnxscript"),
    "compare the graphs of two bundles": ("onnx",),
    "reports with figures": ("matplotlib", "jinja2"),
    "TensorBoard events": ("torch", "tensorboard"),
    "prepare NYUv2": ("h5py",),
    "track runs with MLflow": ("mlflow",),
    "track runs with Weights & Biases": ("wandb",),
    "push to and pull from the Hugging Face hub": ("huggingface_hub",),
    "sign bundles and require signatures": ("cryptography",),
}
DISTRIBUTIONS = {
    "cv2": "opencv-python-headless",
    "mlflow": "mlflow-skinny",
    "cuda.bindings": "cuda-bindings",
    "tensorrt_rtx": "tensorrt-rtx-cu13",
}


@dataclass(frozen=True)
class Ability:
    """One thing that artoolkit can or cannot do here; `reason` says what is missing."""

    name: str
    available: bool
    reason: str


def version_of(module: str) -> str | None:
    """Version of the installed distribution that holds `module`, without importing it."""
    names = [DISTRIBUTIONS.get(module, module), f"{module}-gpu"]
    found = [d.version for name in names for d in metadata.distributions(name=name)]
    return found[0] if found else "?" if is_installed(module) else None


def cuda_driver() -> str | None:
    """Version of the NVIDIA driver's CUDA interface, None where there is no working driver."""
    name = ctypes.util.find_library("cuda") or "libcuda.so.1"
    try:
        cuda = ctypes.CDLL(name)
    except OSError:
        return None
    version = ctypes.c_int()
    if cuda.cuInit(0) != 0 or cuda.cuDriverGetVersion(ctypes.byref(version)) != 0:
        return None
    return f"{version.value // 1000}.{version.value % 1000 // 10}"


def needs() -> dict[str, tuple[str, ...]]:
    """Ability -> the modules that it needs, those of every backend too."""
    from artoolkit.backends import backend_named, backend_names

    found = dict(ABILITIES)
    for name in backend_names():
        found |= backend_named(name).abilities
    return found


def abilities() -> list[Ability]:
    """Every ability, the missing ones too, each with what would give it."""
    found = []
    for name, modules in needs().items():
        missing = [module for module in modules if not is_installed(module)]
        commands = dict.fromkeys(map(install_command, missing))
        reason = f"{', '.join(missing)} missing: {' and '.join(commands)}" if missing else ""
        found.append(Ability(name, not missing, reason))
    driver = cuda_driver()
    reason = "" if driver else "no working NVIDIA driver was found"
    found.append(Ability("run on an NVIDIA GPU", driver is not None, reason))
    return found


def machine() -> dict[str, str]:
    """Kind of this machine, without its name."""
    jetson = Path("/etc/nv_tegra_release")
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "CUDA driver": cuda_driver() or "none",
        "Jetson": jetson.read_text().splitlines()[0] if jetson.is_file() else "no",
    }


def _show(found: list[Ability], versions: dict[str, str | None]) -> None:
    from rich.table import Table
    from rich.text import Text

    from artoolkit.cli.terminal import Terminal

    table = Table("", "ability", "what is missing, and how to get it")
    for ability in found:
        table.add_row(
            Text("yes", "green") if ability.available else Text("no", "yellow"),
            ability.name,
            ability.reason,
        )
    console = Terminal()
    console.print(", ".join(f"{key} {value}" for key, value in machine().items()))
    console.print(table)
    console.print(", ".join(f"{k} {v}" for k, v in versions.items() if v), highlight=False)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the same as JSON.")
@click.option("--networks", is_flag=True, help="Parameters and GMACs of every network instead.")
def command(*, as_json: bool, networks: bool) -> None:
    """Show what works on this machine and what is missing.

    Always exits 0: a missing library is a fact, not a failure.
    """
    if networks:
        from artoolkit.cli.network_table import show_networks

        show_networks(as_json=as_json)
        return
    found = abilities()
    versions = {module: version_of(module) for module in INSTALL}
    if as_json:
        report = {
            "machine": machine(),
            "abilities": [asdict(ability) for ability in found],
            "versions": versions,
        }
        click.echo(json.dumps(report, indent=2))
    else:
        _show(found, versions)
