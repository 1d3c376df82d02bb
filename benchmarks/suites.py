"""Every suite by name: runs them, each in a process of its own, then renders tables and plots.

    python benchmarks/suites.py --list
    python benchmarks/suites.py latency image-size
    python benchmarks/suites.py --all
    python benchmarks/suites.py camvid -- --data-root CAMVID

A suite is a script beside this one; what follows `--` is handed to it. Stopped with Ctrl-C, the
same command goes on: a suite that was measured is left alone without --again. `--all` takes those
that need nothing but this machine, and says what the others need.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import result_file
import tables
from suite import shared_options

FOLDER = Path(__file__).parent
INTERRUPTED = 130


@dataclass(frozen=True)
class Suite:
    """A script: what it measures, and what it needs beside this machine.

    `resumes`: it goes on by itself where it stopped; `renews`: so it does, and takes `--again`. The
    others are left alone once their result file is there. `results`: the names of its files; a
    script whose files are not named after a machine takes no `--machine`.
    """

    script: str
    shows: str
    needs: str = ""
    resumes: bool = False
    renews: bool = False
    arguments: tuple[str, ...] = ()
    results: str = "{name}--{machine}--*.json"


SUITES = {
    "demo": Suite("demo.py", "how often quickstart ends in PASS", "a quiet machine", renews=True),
    "networks": Suite("networks.py", "latency of every built-in network", renews=True),
    "programs": Suite(
        "programs.py", "are two checkpoints one RTX program, in bytes", "tensorrt_rtx", renews=True
    ),
    "engines": Suite(
        "engines.py", "engines of every network for SM 75 to 121", "tensorrt_rtx", renews=True
    ),
    "installs": Suite("installs.py", "what pip installs for each extra", "an index", renews=True),
    "latency": Suite("latency.py", "precision, backend and size", renews=True),
    "image-size": Suite("image_size.py", "time and memory against pixels", renews=True),
    "training-step": Suite("training_step.py", "a step with and without AR", renews=True),
    "cpu-parts": Suite(
        "cpu_parts.py", "the CPU's network beside its convolutions", "a checkpoint and CamVid",
        renews=True,
    ),
    "peers": Suite("peers.py", "networks of other packages", renews=True),
    "intel-cpu": Suite(
        "intel_cpu.py", "bf16 and int8 in OpenVINO beside peers", "a checkpoint and CamVid",
        renews=True,
    ),
    "evaluation": Suite("evaluation.py", "evaluation an image", renews=True),
    "data-check": Suite("data_check.py", "the check of a data set beside decoding", renews=True),
    "startup": Suite("startup.py", "start-up of the command and of a bundle", renews=True),
    "loss-cost": Suite("loss_cost.py", "the loss beside cross-entropy"),
    "loss-cost-teacher": Suite(
        "loss_cost.py", "the terms that need a teacher", arguments=("--teacher-only",)
    ),
    "loader-generated": Suite("loader.py", "images a second and core that are augmented"),
    "crashes": Suite("crash_points.py", "commands killed at every step"),
    "fuzz": Suite("../tests/fuzz/run.py", "damaged input of every format", renews=True),
    "calibration-latency": Suite(
        "calibration.py", "how often the latency check is wrong",
        arguments=("latency",), results="{name}--simulated--*.json",
    ),
    "calibration-accuracy": Suite(
        "calibration.py", "how often the accuracy check is wrong",
        arguments=("accuracy",), results="{name}--simulated--*.json",
    ),
    "calibration-timings": Suite(
        "calibration.py", "the latency check on this machine", "a quiet machine",
        arguments=("timings",), resumes=True,
    ),
    "camvid-lite0": Suite(
        "camvid.py", "baseline from ImageNet weights, control and AR on real streets", "CamVid"
    ),
    "camvid": Suite(
        "camvid.py", "the same with ICNet from scratch", "CamVid", arguments=("--recipe", "camvid")
    ),
    "camvid-networks": Suite("camvid_networks.py", "networks from scratch", "CamVid"),
    "experiment-camvid": Suite(
        "experiment.py", "does the loss help", "CamVid", results="{name}-*.jsonl", resumes=True
    ),
    "int8-camvid": Suite("int8.py", "mIoU in int8", "a checkpoint and CamVid"),
    "gpu": Suite("gpu.py", "engines, plans, memory, latency", "an NVIDIA GPU"),
}  # fmt: skip


def measured(name: str, machine: str) -> list[Path]:
    """Result files of a suite, of this kind of machine."""
    pattern = SUITES[name].results.format(name=name, machine=machine)
    return sorted(result_file.RESULTS.glob(pattern))


def listing(machine: str) -> list[str]:
    """A line for every suite: whether it was measured, what it shows and needs."""
    width = max(map(len, SUITES))
    lines = []
    for name, suite in SUITES.items():
        state = "measured" if measured(name, machine) else "-"
        needs = f" (needs {suite.needs})" if suite.needs else ""
        lines.append(f"{name:{width}}  {state:8}  {suite.shows}{needs}")
    return lines


def chosen(names: Sequence[str], every: bool) -> list[str]:
    """The suites to run, in the order of the list; `click.UsageError` where there are none."""
    if unknown := [name for name in names if name not in SUITES]:
        raise click.UsageError(f"no suite is called {unknown[0]}; known: {', '.join(SUITES)}")
    if every == bool(names):
        raise click.UsageError("name the suites, or give --all; --list shows them")
    if names:
        return [name for name in SUITES if name in names]
    for name, suite in SUITES.items():
        if suite.needs:
            click.echo(f"{name}: left out, it needs {suite.needs}", err=True)
    return [name for name, suite in SUITES.items() if not suite.needs]


def command(name: str, machine: str, again: bool, extra: Sequence[str]) -> list[str]:
    """The suite's own command line."""
    suite = SUITES[name]
    options = ["--machine", machine] if "{machine}" in suite.results else []
    options += ["--again"] if again and suite.renews else []
    return [sys.executable, str(FOLDER / suite.script), *suite.arguments, *options, *extra]


def run(names: Sequence[str], machine: str, *, again: bool, extra: Sequence[str]) -> list[str]:
    """Run the suites one after the other; returns the names of those that failed."""
    failed = []
    for number, name in enumerate(names, 1):
        place = f"[{number}/{len(names)}] {name}"
        goes_on = SUITES[name].resumes or SUITES[name].renews
        if not goes_on and measured(name, machine) and not again:
            click.echo(f"{place}: measured before; --again measures anew")
            continue
        click.echo(place)
        if subprocess.run(command(name, machine, again, extra), check=False).returncode:
            failed.append(name)
    return failed


@click.command()
@click.argument("names", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Every suite that this machine is enough for.")
@click.option("--list", "only_list", is_flag=True, help="Show the suites.")
@shared_options
def main(
    *, names: tuple[str, ...], every: bool, only_list: bool, machine: str, again: bool
) -> None:
    """Run suites by NAMES; see the top of this file."""
    if only_list:
        click.echo("\n".join(listing(machine)))
        return
    # click has taken the -- away: what begins with a dash was behind it.
    at = next((i for i, name in enumerate(names) if name.startswith("-")), len(names))
    extra, wanted = names[at:], chosen(names[:at], every)
    if extra and len(wanted) != 1:
        raise click.UsageError("options after -- are for one suite")
    try:
        failed = run(wanted, machine, again=again, extra=extra)
    except KeyboardInterrupt:
        click.echo("stopped; the same command goes on", err=True)
        raise SystemExit(INTERRUPTED) from None
    for path in tables.write():
        click.echo(f"rendered {path.name}")
    if failed:
        raise SystemExit(f"error: failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
