"""Two checkpoints of every built-in network as RTX programs, without a GPU: are they one program?

    python benchmarks/programs.py
    python benchmarks/programs.py --network pidnet_s,ddrnet_23_slim

Untrained weights of two seeds, the deployed graph for an RTX card, fp32 and fp16, compute
capabilities 86 and 89. Needs tensorrt_rtx; a minute a network and precision.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import click
from side_by_side import Size
from suite import is_measured, not_measured, run_suite, shared_options

from artoolkit.backends.tensorrt.program import compare_programs
from artoolkit.cli.options import CommaList
from artoolkit.deploy.onnx import onnx_from_checkpoint
from artoolkit.deploy.untrained import untrained_checkpoint
from artoolkit.networks import NETWORKS
from artoolkit.targets import find_target

SUITE = "programs"
CLASSES = 19
CAPABILITIES = ("86", "89")
PRECISIONS = ("fp32", "fp16")


def compared(network: str, precision: str, size: Size) -> dict[str, Any]:
    """The comparison on every capability, and what the plan and its memory measure."""
    target = find_target("rtx-40", imgsz=size).model_copy(update={"precision": precision})
    with tempfile.TemporaryDirectory() as folder:
        one, other = (
            onnx_from_checkpoint(
                untrained_checkpoint(network, CLASSES, seed=seed),
                target,
                Path(folder) / f"{seed}.onnx",
            )
            for seed in (0, 1)
        )
        programs = compare_programs(
            one.path,
            other.path,
            trained=one.trained,
            compute_capabilities=CAPABILITIES,
            precision=target.precision,
        )
    return {"programs": [program.model_dump(mode="json") for program in programs]}


def table(raw: dict[str, Any]) -> list[str]:
    """Markdown: per network and precision the answers, and the plan of the last capability."""
    lines = [
        "| network | precision | "
        + " | ".join(f"sm{capability}" for capability in CAPABILITIES)
        + " | proof | plan (MB) | weights | operations | activations (MB) |",
        "|---" * (7 + len(CAPABILITIES)) + "|",
    ]
    for name, row in raw.items():
        if not is_measured(row):
            continue
        network, precision = name.split(" ")
        programs = row["programs"]
        last = programs[-1]
        methods = ", ".join(dict.fromkeys(program["method"] for program in programs))
        answers = " | ".join(program["result"] for program in programs)
        lines.append(
            f"| `{network}` | {precision} | {answers} | {methods} | "
            f"{last['total_bytes'] / 1e6:.1f} | {last['weight_bytes'] / 1e6:.1f} | "
            f"{last['operations']} | {last['activation_bytes'][0] / 1e6:.1f} |"
        )
    return lines + not_measured(raw)


@click.command()
@click.option("--imgsz", nargs=2, type=int, default=(512, 1024), help="Size of the graphs.")
@click.option(
    "--network", "networks", type=CommaList(str), default=",".join(NETWORKS), help="Which, of all."
)
@shared_options
def main(*, imgsz: Size, networks: tuple[str, ...], machine: str, again: bool) -> None:
    """Compare the programs of two checkpoints of each network; see the top of this file."""
    cases = {
        f"{network} {precision}": partial(compared, network, precision, imgsz)
        for network in networks
        for precision in PRECISIONS
    }
    settings = {"imgsz": imgsz, "classes": CLASSES, "compute_capabilities": CAPABILITIES}
    click.echo(run_suite(SUITE, cases, machine=machine, settings=settings, again=again))


if __name__ == "__main__":
    main()
