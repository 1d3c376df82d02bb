"""Engines of every built-in network through RTX, ahead of time, for SM 75 to 121, without a GPU.

    python benchmarks/engines.py
    python benchmarks/engines.py --network icnet,pidnet_s

Bytes of the engine, its activations and its weights in fp16, fp32 and int8, and whether the program
of a second checkpoint is the first one's. Needs tensorrt_rtx; a minute per network and precision.
"""

from __future__ import annotations

import tempfile
from functools import partial
from itertools import product
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
from artoolkit.graph.forms import write_form
from artoolkit.networks import NETWORKS
from artoolkit.targets import find_target

SUITE = "engines"
CLASSES = 19
PRECISIONS = ("fp16", "fp32", "int8")
# Every network and precision gets its most common card (RTX 40, L4) before any gets the others.
MOST_COMMON = "89"
GROUPS = ((MOST_COMMON,), tuple(c for c in RTX_CAPABILITIES if c != MOST_COMMON))
# Weights and ranges that fit a small street are as good here: no program depends on them.
SMALL = (256, 512)
KEPT = ("result", "method", "total_bytes", "program_bytes", "operations", "reason")


def compared(
    network: str, precision: str, size: Size, capabilities: tuple[str, ...] = RTX_CAPABILITIES
) -> dict[str, Any]:
    """By capability: bytes of the engine and the comparison, or why RTX builds none."""
    target = find_target("rtx-40", imgsz=size).model_copy(update={"precision": precision})
    pair = [untrained_checkpoint(network, CLASSES, seed=seed, imgsz=SMALL) for seed in (0, 1)]
    calibration = None
    if precision == "int8":
        small = target.model_copy(update={"imgsz": SMALL})
        calibration = calibrate(pair[0], small, np.stack([street_scene(0, SMALL)[0]]))
    with tempfile.TemporaryDirectory() as folder:
        files, names = [], ()
        for index, checkpoint in enumerate(pair):
            model, names = graph_from_checkpoint(checkpoint, target)
            if calibration is not None:
                model, names = quantized(model, names, target, calibration)
            plain = write_onnx(model, names, Path(folder) / "plain.onnx").path
            files.append(Path(folder) / f"{index}.onnx")
            write_form(plain, target.forms, files[-1])
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
    engines: dict[str, dict[str, Any]] = {}
    for name, row in raw.items():
        if is_measured(row):
            engines.setdefault(name.rpartition(" ")[0], {}).update(row["engines"])
    missing: dict[tuple[str, str], list[str]] = {}
    for network, precision in product(NETWORKS, sorted(PRECISIONS)):
        found = engines.get(f"{network} {precision}", {})
        built = {c: e for c, e in found.items() if "refused" not in e}
        refused = ", ".join(sorted(set(found) - set(built), key=int))
        if left := ", ".join(c for c in RTX_CAPABILITIES if c not in found):
            missing.setdefault((precision, left), []).append(network)
        if not found:
            continue
        equal = [c for c, e in built.items() if e["result"] == "PASS" and e["same_memory"]]
        bytes_ = " | ".join(
            _range([engine[key] for engine in built.values()])
            for key in ("total_bytes", "activation_bytes", "weights_bytes")
        )
        equal_on = ", ".join(sorted(equal, key=int))
        lines.append(f"| `{network}` | {precision} | {equal_on} | {refused} | {bytes_} |")
    gaps = [
        f"Not built yet in {precision} on {on}: {', '.join(networks)}."
        for (precision, on), networks in missing.items()
    ]
    return lines + [line for gap in gaps for line in ("", gap)] + not_measured(raw)


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
        f"{network} {precision} {','.join(group)}": partial(
            compared, network, precision, imgsz, group
        )
        for group in GROUPS
        for precision in precisions
        for network in networks
    }
    settings = {"imgsz": imgsz, "classes": CLASSES}
    click.echo(run_suite(SUITE, cases, machine=machine, settings=settings, again=again))


if __name__ == "__main__":
    main()
