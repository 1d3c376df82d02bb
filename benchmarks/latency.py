"""Latency by network, precision, head, backend and size, each beside `icnet` in the same process.

    python benchmarks/latency.py
    python benchmarks/latency.py --network icnet_r50,pspnet50     adds them to the file

The reference is `icnet` in fp32 with the dense head on ONNX Runtime at the same size. Untrained
networks, batch 1, a generated street, host memory to host memory. The sparse head's time depends on
what the network sees: the share of cells that it computed is kept beside it. A backend that cannot
run here is a case too, with the reason.
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
from artoolkit.checks.sparse import disagreeing_share
from artoolkit.cli.options import CommaList
from artoolkit.cores import usable_cores
from artoolkit.deploy.graph import deployed_module
from artoolkit.targets import find_target

SUITE = "latency"
SIZES: tuple[Size, ...] = ((256, 512), (512, 1024), (1024, 2048))
NETWORKS = ("icnet", "refinenet_lw_mbv2")
ORT, TORCH = "onnxruntime", "torch"
GPU = "cuda:0"
# What each column of a network's row can be: backend, precision, head.
FORMS = (
    (ORT, "fp32", "dense"),
    (ORT, "int8", "dense"),
    (ORT, "fp32", "sparse"),
    (ORT, "int8", "sparse"),
    (TORCH, "fp32", "dense"),
    (f"{ORT} {GPU}", "fp32", "dense"),
    (f"{TORCH} {GPU}", "fp32", "dense"),
    ("tensorrt", "fp32", "dense"),
    ("tensorrt-rtx", "fp32", "dense"),
)
HEADS = {"dense": "argmax", "sparse": "sparse"}


@dataclass(frozen=True)
class Form:
    """One case: a network in one form at one size."""

    network: str
    backend: str
    precision: str
    head: str
    size: Size

    @property
    def name(self) -> str:
        return f"{self.network} {self.precision} {self.head}, {self.backend}, {words(self.size)}"


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
    chosen = {"precision": form.precision, "head": HEADS[form.head], "imgsz": form.size}
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
    """Seconds of the form and of the reference, and what a sparse head computed."""
    image = street(form.size)
    with (
        torch_threads(usable_cores()),
        opened(form, folder) as runner,
        open_onnxruntime(exported(REFERENCE, folder, imgsz=form.size)) as reference,
    ):
        runs = {"case": lambda: runner.infer(image), "reference": lambda: reference.infer(image)}
        found: dict[str, Any] = {"seconds": in_turn(runs, budget_s=budget_s)}
    if form.head == "sparse":
        found["computed_share"] = computed_share(form, folder)
    return found


def computed_share(form: Form, folder: Path) -> float:
    """The share of the street's cells that the sparse head computes, 0 to 1."""
    path = exported(form.network, folder, precision=form.precision, imgsz=form.size)
    with open_onnxruntime(path, outputs=("scores",)) as runner:
        return disagreeing_share(runner.infer(street(form.size))["scores"])


def table(raw: dict[str, Any]) -> list[str]:
    """Markdown: a row for every form that ran, a column a size; then why the others did not."""
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
    """The ratio with its spread, and with a sparse head the share of cells behind it."""
    share = values.get("computed_share")
    cells = "" if share is None else f" ({share:.0%} of cells)"
    return f"{ratio(values['seconds']):.2f} ± {spread_percent(values['seconds']):.0f} %{cells}"


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
