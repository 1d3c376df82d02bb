"""Latency by network, precision, backend and size, each beside `icnet` in the same process.

    python benchmarks/latency.py
    python benchmarks/latency.py --network icnet_r50,pspnet50     adds them to the file

The reference is `icnet` in fp32 on ONNX Runtime at the same size. Untrained networks, batch 1, a
generated street, host memory to host memory. A backend that cannot run here is a case too, with the
reason.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
from side_by_side import (
    REFERENCE,
    Size,
    checkpoint_of,
    exported,
    in_turn,
    ratio,
    spread_percent,
    street,
    torch_threads,
    words,
)
from suite import is_measured, run_suite, shared_options

from artoolkit.backends.onnxruntime.runner import open_onnxruntime
from artoolkit.backends.runner import Runner
from artoolkit.backends.tensorrt.cuda import open_cuda
from artoolkit.backends.torch.runner import open_torch
from artoolkit.cli.options import CommaList
from artoolkit.cores import usable_cores
from artoolkit.deploy.graph import deployed_module
from artoolkit.targets import find_target

SUITE = "latency"
SIZES: tuple[Size, ...] = ((256, 512), (512, 1024), (1024, 2048))
NETWORKS = ("icnet", "refinenet_lw_mbv2")
ORT, TORCH = "onnxruntime", "torch"
GPU = "cuda:0"
# What each column of a network's row can be: backend, precision.
FORMS = (
    (ORT, "fp32"),
    (ORT, "int8"),
    (TORCH, "fp32"),
    (f"{ORT} {GPU}", "fp32"),
    (f"{TORCH} {GPU}", "fp32"),
    ("tensorrt", "fp32"),
    ("tensorrt-rtx", "fp32"),
)
# Cases of earlier versions had one of two heads in their names; that of the graph stays there.
HEAD, GONE = "dense", "sparse"


@dataclass(frozen=True)
class Form:
    """One case: a network in one form at one size."""

    network: str
    backend: str
    precision: str
    size: Size

    @property
    def name(self) -> str:
        return f"{self.network} {self.precision} {HEAD}, {self.backend}, {words(self.size)}"


def forms(networks: tuple[str, ...], sizes: tuple[Size, ...]) -> Iterator[Form]:
    """Every case, size by size."""
    for size in sizes:
        for network in networks:
            yield from (Form(network, *form, size) for form in FORMS)


def opened(form: Form, folder: Path) -> Runner:
    """The network open on its backend; `BackendError` where it cannot run here."""
    if form.backend not in (ORT, TORCH):
        open_cuda(GPU).close()  # before an export or a build that nothing here can run
    if form.backend.startswith("tensorrt"):
        return on_tensorrt(form, folder)
    device = GPU if form.backend.endswith(GPU) else "cpu"
    if form.backend.startswith(TORCH):
        return on_torch(form, device)
    chosen = {"precision": form.precision, "imgsz": form.size}
    return open_onnxruntime(exported(form.network, folder, device=device, **chosen), device=device)


def on_torch(form: Form, device: str) -> Runner:
    """The module as it is deployed, eager, on as many threads as ONNX Runtime takes."""
    checkpoint = checkpoint_of(form.network)
    target = find_target("cpu", device=device, imgsz=form.size)
    module = deployed_module(checkpoint.network(), checkpoint.meta.preprocess, target)
    return open_torch(module, (1, *form.size, 3), device=device)


def on_tensorrt(form: Form, folder: Path) -> Runner:
    """An engine that is built here, in minutes."""
    from gpu import built, make_arm, opener

    target = find_target("rtx-40", precision=form.precision, imgsz=form.size)
    arm = make_arm(form.network, target, folder, 0)
    built(arm, form.backend)
    runner: Runner = opener(arm, form.backend, GPU)
    return runner


def measured(form: Form, folder: Path, budget_s: float) -> dict[str, Any]:
    """Seconds of the form and of the reference."""
    image = street(form.size)
    with (
        torch_threads(usable_cores()),
        opened(form, folder) as runner,
        open_onnxruntime(exported(REFERENCE, folder, imgsz=form.size)) as reference,
    ):
        runs = {"case": lambda: runner.infer(image), "reference": lambda: reference.infer(image)}
        return {"seconds": in_turn(runs, budget_s=budget_s)}


def table(raw: dict[str, Any]) -> list[str]:
    """Markdown: a row for every form that ran, a column a size; then why the others did not."""
    raw = {name: values for name, values in raw.items() if GONE not in name}
    rows: dict[tuple[str, str], dict[str, str]] = {}
    sizes: dict[str, None] = {}
    for name in sorted(raw, key=order):
        network, backend, size = name.split(", ")
        if is_measured(raw[name]):
            rows.setdefault((network, backend), {})[size] = cell(raw[name])
            sizes[size] = None
    lines = [
        f"| time / {REFERENCE} fp32 dense of the same size | backend | {' | '.join(sizes)} |",
        "|---" * (len(sizes) + 2) + "|",
    ]
    for (network, backend), found in rows.items():
        cells = " | ".join(found.get(size, "-") for size in sizes)
        lines.append(f"| {network} | {backend} | {cells} |")
    return [*lines, *reasons(raw)]


def order(name: str) -> tuple[int, int, str, int]:
    """Sort key of a case: networks and backends as listed here, sizes by height."""
    network, backend, size = name.split(", ")
    backends = [form[0] for form in FORMS]
    first = network.split()[0]
    place = NETWORKS.index(first) if first in NETWORKS else len(NETWORKS)
    return place, backends.index(backend), network, int(size.split()[0])


def cell(values: dict[str, Any]) -> str:
    """The ratio with its spread."""
    return f"{ratio(values['seconds']):.2f} ± {spread_percent(values['seconds']):.0f} %"


def reasons(raw: dict[str, Any]) -> list[str]:
    """A line for every reason why backends could not run, with all the cases that it stopped."""
    found: dict[str, list[str]] = {}
    for name in sorted(raw, key=order):
        if not is_measured(raw[name]):
            found.setdefault(raw[name]["unavailable"], []).append(name.split(", ")[1])
    lines = [
        f"* {', '.join(f'`{backend}`' for backend in dict.fromkeys(stopped))}, "
        f"{len(stopped)} cases: {why}"
        for why, stopped in found.items()
    ]
    return ["", "Not measured:", "", *lines] if lines else []


@click.command()
@click.option(
    "--network", "networks", type=CommaList(str), default=",".join(NETWORKS), show_default=True
)
@click.option("--seconds", "budget_s", default=2.0, show_default=True, help="For each case.")
@shared_options
def main(*, networks: tuple[str, ...], budget_s: float, machine: str, again: bool) -> None:
    """Measure every form of the networks; see the top of this file."""
    with tempfile.TemporaryDirectory() as folder:
        cases = {
            form.name: partial(measured, form, Path(folder), budget_s)
            for form in forms(networks, SIZES)
        }
        settings = {"seconds": budget_s, "threads": usable_cores(), "batch": 1}
        click.echo(run_suite(SUITE, cases, machine=machine, settings=settings, again=again))


if __name__ == "__main__":
    main()
