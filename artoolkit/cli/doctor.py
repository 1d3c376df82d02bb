"""`artoolkit doctor`: what this machine can do, and for everything else why not and what to do."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

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
    "pynvml": "nvidia-ml-py",
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
    return found


def gpu_ability(gpus: list[dict[str, Any]], misfits: tuple[str, ...]) -> Ability:
    """Whether every GPU passed its test, or what keeps it from running."""
    failed = [gpu["self_test_failed"] for gpu in gpus if gpu["self_test_failed"]]
    reasons = [*misfits, *failed] if gpus else ["no working NVIDIA driver and GPU were found"]
    return Ability("run on an NVIDIA GPU", not reasons, "; ".join(reasons))


def gpus() -> list[dict[str, Any]]:
    """Every GPU as its driver describes it, its state now, and how a second of work went."""
    from artoolkit.backends.tensorrt.cuda.driver import driver_gpus
    from artoolkit.backends.tensorrt.cuda.self_test import self_test
    from artoolkit.cost.accelerator import device_identity, gpu_reader
    from artoolkit.errors import ArtoolkitError

    found = []
    for gpu in driver_gpus():
        device, passed, failed = f"cuda:{gpu.index}", None, None
        try:
            passed = self_test(device)
        except ArtoolkitError as error:
            failed = str(error)
        read = gpu_reader(device)
        found.append(
            asdict(gpu)
            | {"identity": gpu.identity, "environment": device_identity(device)}
            | {"state": read() if read else {}}
            | {"self_test": passed, "self_test_failed": failed}
        )
    return found


def machine() -> dict[str, str]:
    """Kind of this machine, without its name."""
    from artoolkit.backends.tensorrt.cuda.driver import driver_version
    from artoolkit.cost import jetson

    board = jetson.identity() if jetson.is_jetson() else {}
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "CUDA driver": driver_version() or "none",
        "Jetson": ", ".join(f"{key} {value}" for key, value in board.items()) or "no",
    }


def _show(
    found: list[Ability], versions: dict[str, str | None], devices: list[dict[str, Any]]
) -> None:
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
    for gpu in devices:
        told = {
            "GPU": f"{gpu['index']}: {gpu['identity']}, SM{gpu['compute_capability']}",
            "memory": f"{gpu['total_bytes'] / 2**30:.1f} GiB",
            **gpu["environment"],
            **gpu["state"],
            "self-test": gpu["self_test"] or gpu["self_test_failed"],
        }
        console.print(", ".join(f"{k} {v}" for k, v in told.items()))
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
    from artoolkit.backends.tensorrt.fit import misfits

    devices, unfit = gpus(), misfits()
    found = [*abilities(), gpu_ability(devices, unfit)]
    versions = {module: version_of(module) for module in INSTALL}
    if as_json:
        report = {
            "machine": machine(),
            "gpus": devices,
            "misfits": unfit,
            "abilities": [asdict(ability) for ability in found],
            "versions": versions,
        }
        click.echo(json.dumps(report, indent=2))
    else:
        _show(found, versions, devices)
