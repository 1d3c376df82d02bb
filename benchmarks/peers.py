"""`icnet` beside networks of other packages, exported plainly, in one process on a CPU.

    python benchmarks/peers.py --packages PEERS

A peer whose package is not under PEERS is listed as unavailable, with the command that installs it.
Weights are random: only time is compared. Both run on ONNX Runtime in float32 with the same
threads, in turn. A peer gets its image normalised beforehand and is not timed for it; `icnet` takes
bytes and gives labels.
"""

from __future__ import annotations

import logging
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from peer_networks import CLASSES, PEERS, Argmax, Peer, Size, export_plainly
from side_by_side import exported, in_turn, ratio, street, words
from suite import is_measured, not_measured, run_suite, shared_options

from artoolkit.backends.onnxruntime.runner import open_onnxruntime
from artoolkit.backends.runner import Runner
from artoolkit.preprocess import Preprocess, normalise

OURS = "icnet"


def case_name(peer: Peer) -> str:
    """`ICNet-R50, mmsegmentation, labels`."""
    return f"{peer.network}, {peer.package.name}, {peer.output}"


def measured(
    peer: Peer, packages: Path | None, own: Runner, *, threads: int, budget_s: float
) -> dict[str, Any]:
    """Wall seconds of the peer and of ours, round by round, and what the peer is."""
    _, height, width, _ = own.spec.inputs[0].shape
    imgsz = height, width
    with peer.package.on_path(packages):
        network, versions = peer.build(imgsz), peer.package.versions()
    with tempfile.TemporaryDirectory() as scratch:
        theirs = Path(scratch) / "peer.onnx"
        whole = Argmax(network) if peer.labels else network
        export_plainly(whole, imgsz, theirs, optimised=peer.optimised)
        del network, whole
        file_bytes = theirs.stat().st_size
        samples = timed(theirs, own, street(imgsz), threads=threads, budget_s=budget_s)
    return {
        "network": peer.network,
        "package": peer.package.name,
        "versions": versions,
        "output": peer.output,
        "imgsz": imgsz,
        "file_bytes": file_bytes,
        "seconds": samples,
    }


def timed(
    theirs: Path, own: Runner, image: NDArray[np.uint8], *, threads: int, budget_s: float
) -> dict[str, list[float]]:
    """Both on the same image, in turn."""
    feeds = {"image": normalise(image, Preprocess())}
    peer = open_onnxruntime(theirs, threads=threads)
    try:
        runs = {"case": partial(peer.infer, feeds), "reference": partial(own.infer, image)}
        return in_turn(runs, budget_s=budget_s)
    finally:
        peer.close()


def table(raw: dict[str, Any]) -> list[str]:
    """Every peer's time in that of `icnet`, and why some have none."""
    lines = [
        f"| network | output | size | file (MB) | ms | `{OURS}` ms | times `{OURS}` |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in filter(is_measured, raw.values()):
        times = (1e3 * statistics.median(row["seconds"][key]) for key in ("case", "reference"))
        theirs, ours = (f"{value:.0f}" for value in times)
        lines.append(
            f"| {row['network']} ({row['package']}) | {row['output']} | {words(row['imgsz'])} | "
            f"{row['file_bytes'] / 1e6:.0f} | {theirs} | {ours} | {ratio(row['seconds']):.1f} |"
        )
    return lines + not_measured(raw)


@click.command()
@shared_options
@click.option(
    "--packages",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder with one folder a package, made by pip install --target.",
)
@click.option("--imgsz", nargs=2, type=int, default=(1024, 2048), show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--budget-s", default=30.0, show_default=True, help="Seconds of rounds a peer.")
def main(
    *, machine: str, again: bool, packages: Path | None, imgsz: Size, threads: int, budget_s: float
) -> None:
    """Time the peers beside `icnet` and write the result file."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # names every library it lacks
    settings = {"imgsz": imgsz, "threads": threads, "budget_s": budget_s, "classes": CLASSES}
    with tempfile.TemporaryDirectory() as scratch:
        ours = exported(OURS, Path(scratch), imgsz=imgsz)
        # Opened before any case: a failure of ours is none of a peer.
        with open_onnxruntime(ours, threads=threads) as own:
            measure = partial(measured, own=own, threads=threads, budget_s=budget_s)
            cases: dict[str, Callable[[], dict[str, Any]]] = {
                case_name(peer): partial(measure, peer, packages) for peer in PEERS
            }
            path = run_suite("peers", cases, machine=machine, settings=settings, again=again)
    click.echo(path.name)


if __name__ == "__main__":
    main()
