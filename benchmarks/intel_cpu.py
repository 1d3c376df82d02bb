"""OpenVINO in bf16 and int8 beside ONNX Runtime in float32, on a processor that computes in them.

    python benchmarks/intel_cpu.py ICNET --data-root CAMVID --packages PEERS --graphs FOLDER

ICNET is a checkpoint of `icnet`, trained on CamVid, whose frames are brought to 1024 x 2048. Each
case runs its forms in turn in one process. Graphs stay in FOLDER: with `--export-only` they are
made beforehand, so that a quiet machine only measures. Networks of others and the other networks
here have random weights: only their time is compared. int8 is calibrated at 256 x 512, NNCF's at
full size. A processor without bf16 is named before anything is measured.
"""

from __future__ import annotations

import logging
import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from peer_networks import PEERS, PIDNET, SMALLEST, Argmax, Peer, export_plainly, nncf_quantised
from side_by_side import (
    CALIBRATED_AT,
    Size,
    checkpoint_of,
    in_turn,
    open_openvino,
    ratio,
    spread_percent,
    street,
    torch_threads,
    words,
)
from suite import is_measured, not_measured, run_suite, shared_options

from artoolkit.backends.onnxruntime.runner import open_onnxruntime
from artoolkit.backends.openvino.loader import capabilities, check_precision, compiled, processor
from artoolkit.backends.openvino.profile import profile_layers
from artoolkit.backends.runner import Runner
from artoolkit.cores import usable_cores
from artoolkit.cost.roofline import parts_of
from artoolkit.data import open_dataset, spread
from artoolkit.data.image_files import write_png
from artoolkit.data.jobs import jobs_of
from artoolkit.deploy.graph import deployed_module
from artoolkit.deploy.onnx import graph_from_checkpoint, write_onnx
from artoolkit.deploy.quantize import calibrate, quantized
from artoolkit.errors import BackendError, MissingLibraryError
from artoolkit.evaluation.predictor import RunnerPredictor
from artoolkit.evidence.seal import file_sha256
from artoolkit.networks.checkpoint import Checkpoint, read_checkpoint
from artoolkit.preprocess import Preprocess, fit_image, normalise
from artoolkit.report.predictions import write_predictions
from artoolkit.targets import find_target
from artoolkit.words import AUTO

SUITE, CONVOLUTIONS = "intel-cpu", "convolutions"
Images = NDArray[np.uint8]
# ONNX Runtime in float32 is what users run.
USERS = "ONNX Runtime fp32"
BF16, INT8, FLOAT_REST = "OpenVINO bf16", "OpenVINO int8 + bf16", "OpenVINO int8 + fp32"
NNCF, COMPILED = "NNCF int8 + bf16", "torch bf16, compiled"
# Ours, whose graphs equal those of their authors: name and what it is called.
EQUAL = ("pidnet_s", "ddrnet_23_slim")
ROUNDS = {"least": 5, "most": 15}
# Enough for `predict` to reach its pace.
FRAMES = 16


@dataclass(frozen=True)
class Graphs:
    """ONNX files of networks in `folder`, each made once.

    `images` calibrate the trained `icnet`, others have ranges of a street that was generated.
    """

    folder: Path
    trained: Checkpoint
    images: Images
    size: Size
    packages: Path | None

    def of(self, network: str, precision: str) -> Path:
        """`network` as it is deployed, in fp32 (bf16 runs that too) or int8."""
        path = self.folder / f"{network}-{precision}-{words(self.size).replace(' ', '')}.onnx"
        if path.exists():
            return path
        checkpoint = self.trained if network == "icnet" else checkpoint_of(network)
        target = find_target("intel-cpu", precision=precision, imgsz=self.size)
        model, names = graph_from_checkpoint(checkpoint, target)
        if precision == "int8":
            small = target.model_copy(update={"imgsz": CALIBRATED_AT})
            own = network == "icnet"
            images = street(CALIBRATED_AT)
            if own:
                images = np.stack([fit_image(image, CALIBRATED_AT) for image in self.images])
            found = calibrate(checkpoint, small, images, float_layers=AUTO if own else ())
            model, names = quantized(model, names, target, found)
        return write_onnx(model, names, path).path

    def nncf(self) -> Path:
        path = self.folder / "icnet-nncf.xml"
        if path.exists():
            return path
        return nncf_quantised(self.of("icnet", "fp32"), self.images[:2], path, self.packages)

    def theirs(self, peer: Peer) -> Path:
        """A peer with labels as its users export it."""
        path = self.folder / f"{peer.network}-{peer.package.name}.onnx"
        if not path.exists():
            with peer.package.on_path(self.packages):
                network = Argmax(peer.build(self.size))
            export_plainly(network, self.size, path, optimised=peer.optimised)
        return path

    def make(self) -> None:
        """All of them; a package that is not there is left to its case."""
        for network in ("icnet", *EQUAL):
            for precision in ("fp32", "int8"):
                click.echo(self.of(network, precision).name, err=True)
        for make in (self.nncf, *(partial(self.theirs, peer) for peer in OTHERS)):
            with suppress(MissingLibraryError):
                click.echo(make().name, err=True)
        # Its kernels stay in torch's cache.
        compiled_bf16(self, self.images[:1])


OTHERS = (PEERS[0], PIDNET, SMALLEST)


def icnet_forms(graphs: Graphs, images: Images, budget_s: float) -> dict[str, Any]:
    """Every form of the trained `icnet`, in turn, on the same frame."""
    fp32, int8 = (graphs.of("icnet", precision) for precision in ("fp32", "int8"))
    with ExitStack() as stack:
        opened: dict[str, Runner] = {
            USERS: open_onnxruntime(fp32),
            "OpenVINO fp32": open_openvino(fp32, "fp32"),
            BF16: open_openvino(fp32, "bf16"),
            FLOAT_REST: open_openvino(int8, "int8", float_precision="fp32"),
            INT8: open_openvino(int8, "int8"),
            "ONNX Runtime int8": open_onnxruntime(int8),
        }
        with suppress(MissingLibraryError):
            opened[NNCF] = open_openvino(graphs.nncf(), "int8")
        runs = {name: partial(stack.enter_context(one).infer, images[:1])
                for name, one in opened.items()}  # fmt: skip
        labels = {name: run() for name, run in runs.items()}
        seconds = in_turn(runs, budget_s=budget_s, **ROUNDS)
    reference = labels[USERS]["labels"]
    agreement = {name: float((found["labels"] == reference).mean())
                 for name, found in labels.items()}  # fmt: skip
    return {"seconds": seconds, "agreement": agreement}


def icnet_in_torch(graphs: Graphs, images: Images, budget_s: float) -> dict[str, Any]:
    """torch's own bf16, whose compilation takes minutes, beside what users run and what we ship."""
    fp32 = graphs.of("icnet", "fp32")
    with ExitStack() as stack:
        stack.enter_context(torch_threads(usable_cores()))
        runs = {
            USERS: partial(stack.enter_context(open_onnxruntime(fp32)).infer, images[:1]),
            BF16: partial(stack.enter_context(open_openvino(fp32, "bf16")).infer, images[:1]),
            COMPILED: compiled_bf16(graphs, images[:1]),
        }
        return {"seconds": in_turn(runs, budget_s=budget_s, **ROUNDS)}


def compiled_bf16(graphs: Graphs, image: Images) -> Callable[[], dict[str, Any]]:
    """torch at its best on a CPU: bf16 autocast, channels last, compiled with frozen weights."""
    trained, target = graphs.trained, find_target("cpu", imgsz=graphs.size)
    module = deployed_module(trained.network(), trained.meta.preprocess, target)
    module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    run = torch.compile(module, options={"freezing": True})
    pixels = torch.from_numpy(image.copy())

    def labels() -> dict[str, Any]:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            return {"labels": run(pixels).numpy()}

    try:
        labels()
    except Exception as error:  # its compiler's errors share no base
        raise BackendError("torch did not compile icnet in bf16", got=str(error)[:200]) from error
    return labels


def icnet_parts(graphs: Graphs, images: Images, precision: str) -> dict[str, Any]:
    """Milliseconds of the runtime graph part by part, and the convolutions left in float."""
    path = graphs.of("icnet", "int8" if precision == "int8" else "fp32")
    model = compiled(
        path,
        device="cpu",
        precision=precision,
        float_precision="bf16",
        profile=True,  # type: ignore[arg-type]
    )
    layers = profile_layers(model, {"image": images[:1]})
    parts: dict[str, float] = defaultdict(float)
    for layer, part in zip(layers, parts_of(layers), strict=True):
        parts[part] += layer.milliseconds
    in_float = [layer.name for layer, part in zip(layers, parts_of(layers), strict=True)
                if part == CONVOLUTIONS and layer.dtype not in ("u8", "i8")]  # fmt: skip
    return {"parts_ms": dict(parts), "float_convolutions": in_float}


def peer(graphs: Graphs, one: Peer, images: Images, budget_s: float) -> dict[str, Any]:
    """A peer as its users run it, its own file in OpenVINO, and our `icnet`."""
    theirs, feeds = graphs.theirs(one), {"image": normalise(images[:1], Preprocess())}
    with ExitStack() as stack:
        runners = {
            USERS: (open_onnxruntime(theirs), feeds),
            "its file in OpenVINO bf16": (open_openvino(theirs, "bf16"), feeds),
            f"icnet, {BF16}": (open_openvino(graphs.of("icnet", "fp32"), "bf16"), images[:1]),
            f"icnet, {INT8}": (open_openvino(graphs.of("icnet", "int8"), "int8"), images[:1]),
        }
        return {"seconds": _timed(stack, runners, budget_s)}


def equal(graphs: Graphs, network: str, images: Images, budget_s: float) -> dict[str, Any]:
    """One of our networks, whose graph is its authors': as users run it, and as we ship it."""
    fp32, int8 = (graphs.of(network, precision) for precision in ("fp32", "int8"))
    with ExitStack() as stack:
        runners = {
            USERS: (open_onnxruntime(fp32), images[:1]),
            BF16: (open_openvino(fp32, "bf16"), images[:1]),
            INT8: (open_openvino(int8, "int8"), images[:1]),
        }
        return {"seconds": _timed(stack, runners, budget_s)}


def _timed(
    stack: ExitStack, runners: Mapping[str, tuple[Runner, Any]], budget_s: float
) -> dict[str, list[float]]:
    runs = {name: partial(stack.enter_context(runner).infer, batch)
            for name, (runner, batch) in runners.items()}  # fmt: skip
    return in_turn(runs, budget_s=budget_s, **ROUNDS)


def end_to_end(graphs: Graphs, images: Images, budget_s: float) -> dict[str, Any]:
    """`predict`: PNG frames decoded, labelled and written, all of them a round."""
    frames = graphs.folder / "frames"
    if not frames.is_dir():
        for number in range(FRAMES):
            write_png(images[number % len(images)], frames / f"{number:02}.png")
    fp32, int8 = (graphs.of("icnet", precision) for precision in ("fp32", "int8"))
    opened: dict[str, Runner] = {
        USERS: open_onnxruntime(fp32),
        BF16: open_openvino(fp32, "bf16"),
        INT8: open_openvino(int8, "int8"),
    }
    with ExitStack() as stack:
        runs = {}
        for name, runner in opened.items():
            labels = graphs.trained.meta.labels
            predictor = stack.enter_context(RunnerPredictor(runner, labels))
            runs[name] = partial(_predicted, predictor, frames, graphs.folder / "labels")
        return {"seconds": in_turn(runs, budget_s=budget_s, least=3, most=5), "images": FRAMES}


def _predicted(predictor: RunnerPredictor, frames: Path, out: Path) -> None:
    for _ in write_predictions(predictor, jobs_of(frames), out, overlays=False):
        pass


def table(raw: dict[str, Any]) -> list[str]:
    """Markdown: every form over what users run; then the parts of the runtime graphs."""
    lines = ["| case | form | ms | of ONNX Runtime fp32 | label agreement (%) |", "|---" * 5 + "|"]
    measured = {name: row for name, row in raw.items() if is_measured(row)}
    for name, row in measured.items():
        for form, samples in row.get("seconds", {}).items():
            images = row.get("images", 1)
            share = f"{ratio(row['seconds'], form, USERS):.2f}"
            spread = spread_percent(row["seconds"], form, USERS)
            agreement = row.get("agreement", {}).get(form)
            same = "" if agreement is None else f"{100 * agreement:.2f}"
            milliseconds = 1e3 * statistics.median(samples) / images
            lines.append(
                f"| {name} | {form} | {milliseconds:.0f} | {share} ± {spread:.0f} % | {same} |"
            )
    parts = {name: row["parts_ms"] for name, row in measured.items() if "parts_ms" in row}
    known = list({part: None for found in parts.values() for part in found})
    lines += ["", f"| runtime graph, ms | {' | '.join(known)} | whole / convolutions |"]
    lines += ["|---" * (len(known) + 2) + "|"]
    for name, found in parts.items():
        cells = " | ".join(f"{found.get(part, 0):.1f}" for part in known)
        whole = sum(found.values()) / found[CONVOLUTIONS]
        lines.append(f"| {name} | {cells} | {whole:.2f} |")
    for name in parts:
        if left := measured[name]["float_convolutions"] if "int8" in name else []:
            lines += ["", f"Convolutions in float in {name}: {', '.join(left)}."]
    return lines + not_measured(raw)


@click.command()
@click.argument("icnet", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--dataset", default="camvid", show_default=True)
@click.option("--data-root", required=True, type=click.Path(path_type=Path, file_okay=False))
@click.option("--graphs", "folder", required=True, type=click.Path(path_type=Path, file_okay=False))
@click.option("--packages", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--imgsz", nargs=2, type=int, default=(1024, 2048), show_default=True)
@click.option("--budget-s", default=30.0, show_default=True, help="Seconds of rounds a case.")
@click.option("--export-only", is_flag=True, help="Only make the graphs.")
@shared_options
def main(
    *, icnet: Path, dataset: str, data_root: Path, folder: Path, packages: Path | None,
    imgsz: Size, budget_s: float, export_only: bool, machine: str, again: bool,
) -> None:  # fmt: skip
    """Measure ICNET, its peers and the parts of its graph; see the top of this file."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # names every library it lacks
    check_precision("cpu", "bf16")
    data = open_dataset(dataset, data_root)
    chosen = {split: spread(data.samples(split), 4) for split in ("train", "val")}
    train, images = (
        np.stack([fit_image(data.read_image(sample), imgsz) for sample in chosen[split]])
        for split in ("train", "val")
    )
    folder.mkdir(parents=True, exist_ok=True)
    graphs = Graphs(folder, read_checkpoint(icnet), train, imgsz, packages)
    if export_only:
        graphs.make()
        return
    cases: dict[str, Callable[[], dict[str, Any]]] = {
        "icnet": partial(icnet_forms, graphs, images, 2 * budget_s),
        "icnet bf16": partial(icnet_parts, graphs, images, "bf16"),
        "icnet int8 + bf16": partial(icnet_parts, graphs, images, "int8"),
        **{f"{o.network} of {o.package.name}": partial(peer, graphs, o, images, budget_s)
           for o in OTHERS},
        **{name: partial(equal, graphs, name, images, budget_s) for name in EQUAL},
        "predict, end to end": partial(end_to_end, graphs, images, budget_s),
        "icnet in torch": partial(icnet_in_torch, graphs, images, budget_s),
    }  # fmt: skip
    settings = {
        "checkpoint_sha256": file_sha256(icnet),
        "dataset": f"{dataset}, frames of val brought to imgsz",
        "imgsz": imgsz,
        "budget_s": budget_s,
        "threads": usable_cores(),
        "processor": processor("cpu"),
        "capabilities": capabilities("cpu"),
    }
    path = run_suite(SUITE, cases, machine=machine, settings=settings, again=again)
    click.echo(path)


if __name__ == "__main__":
    main()
