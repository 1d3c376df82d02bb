"""Engines of every built-in network through RTX, ahead of time, for SM 75 to 121, without a GPU.

    python benchmarks/engines.py
    python benchmarks/engines.py --network icnet,pidnet_s

Bytes of the engine, its activations and its weights in fp32, fp16 and int8, and whether the program
of a second checkpoint is the first one's. Needs tensorrt_rtx; minutes a network and precision.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
from side_by_side import Size
from suite import is_measured, not_measured, run_suite, shared_options

from artoolkit.backends.tensorrt.library import RTX_CAPABILITIES
from artoolkit.backends.tensorrt.program import compare_programs
from artoolkit.cli.options import CommaList
from artoolkit.data.street.scene import street_scene
from artoolkit.deploy.onnx import graph_from_checkpoint, write_onnx
from artoolkit.deploy.quantize import calibrate, quantized
from artoolkit.deploy.untrained import untrained_checkpoint
from artoolkit.errors import EngineError
from artoolkit.networks import NETWORKS
from artoolkit.targets import find_target

SUITE = "engines"
CLASSES = 19
PRECISIONS = ("fp32", "fp16", "int8")
KEPT = ("result", "method", "total_bytes", "program_bytes", "operations", "reason")


def compared(
    network: str, precision: str, size: Size, capabilities: tuple[str, ...] = RTX_CAPABILITIES
) -> dict[str, Any]:
    """By capability: bytes of the engine and the comparison, or why RTX builds none."""
    target = find_target("rtx-40", imgsz=size).model_copy(update={"precision": precision})
    # Weights that fit a small street are as good here: no program depends on them.
    pair = [untrained_checkpoint(network, CLASSES, seed=seed, imgsz=(128, 256)) for seed in (0, 1)]
    calibration = None
    if precision == "int8":
        calibration = calibrate(pair[0], target, np.stack([street_scene(0, size)[0]]))
    with tempfile.TemporaryDirectory() as folder:
        written = []
        for index, checkpoint in enumerate(pair):
            model, trained = graph_from_checkpoint(checkpoint, target)
            if calibration is not None:
                model, trained = quantized(model, trained, target, calibration)
            written.append(write_onnx(model, trained, Path(folder) / f"{index}.onnx"))
        files, names = [one.path for one in written], written[0].trained
        return {"engines": {c: _engine(files, names, c, target.precision) for c in capabilities}}


def _engine(
    files: list[Path], trained: tuple[str, ...], capability: str, precision: Any
) -> dict[str, Any]:
    try:
        (found,) = compare_programs(
            *files, trained=trained, compute_capabilities=(capability,), precision=precision
        )
    except EngineError as error:
        return {"refused": error.what}
    values = found.model_dump(mode="json")
    return {key: values[key] for key in KEPT} | {
        "activation_bytes": found.activation_bytes[0],
        "weights_bytes": found.weights_memory_bytes[0],
        "same_memory": found.same_memory,
    }


def table(raw: dict[str, Any]) -> list[str]:
    """Markdown: a line per network and precision; bytes over capabilities as least to most."""
    head = (
        "| network | precision | program equal on | no engine on | engine (MB) | "
        "activations (MB) | weights (MB) |"
    )
    lines = [head, "|---" * 7 + "|"]
    for name, row in raw.items():
        if not is_measured(row):
            continue
        network, precision = name.split(" ")
        built = {c: e for c, e in row["engines"].items() if "refused" not in e}
        refused = ", ".join(c for c in row["engines"] if c not in built)
        equal = ", ".join(c for c, e in built.items() if e["result"] == "PASS" and e["same_memory"])
        bytes_ = " | ".join(
            _range([engine[key] for engine in built.values()])
            for key in ("total_bytes", "activation_bytes", "weights_bytes")
        )
        lines.append(f"| `{network}` | {precision} | {equal} | {refused} | {bytes_} |")
    return lines + not_measured(raw)


def _range(counts: list[int]) -> str:
    if not counts:
        return ""
    low, high = (f"{count / 1e6:.1f}" for count in (min(counts), max(counts)))
    return low if low == high else f"{low} to {high}"


@click.command()
@click.option("--imgsz", nargs=2, type=int, default=(1024, 2048), help="Size of the graphs.")
@click.option(
    "--network", "networks", type=CommaList(str), default=",".join(NETWORKS), help="Which, of all."
)
@click.option("--precision", "precisions", type=CommaList(str), default=",".join(PRECISIONS))
@shared_options
def main(
    *,
    imgsz: Size,
    networks: tuple[str, ...],
    precisions: tuple[str, ...],
    machine: str,
    again: bool,
) -> None:
    """Build the engines of two checkpoints of each network; see the top of this file."""
    cases = {
        f"{network} {precision}": partial(compared, network, precision, imgsz)
        for network in networks
        for precision in precisions
    }
    settings = {"imgsz": imgsz, "classes": CLASSES, "compute_capabilities": RTX_CAPABILITIES}
    click.echo(run_suite(SUITE, cases, machine=machine, settings=settings, again=again))


if __name__ == "__main__":
    main()
