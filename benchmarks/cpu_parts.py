"""What the deployed graph of `icnet` costs on a CPU beside its convolutions, head by head.

    python benchmarks/cpu_parts.py runs/camvid-full/ar/model.safetensors --data-root CAMVID

Totals run uint8 images to labels, the convolutions are those of the float32 dense graph alone
(`convolutions.py`), all with the profiler off and in turn in one process, on the same frames, under
each of several session options; those under which the convolutions are fastest are shown. Beside it
the sum of the operators' medians over that of the convolutions, from one profiled session, which
bursts of other work disturb less. The frames are validation images brought to the size, the
checkpoint a trained one, so that the sparse head meets real label maps; noise is its worst case.
The graph for 19 classes has random weights: its dense forms take the same time with any.
"""

from __future__ import annotations

import statistics
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
from convolutions import convolutions_alone
from numpy.typing import NDArray
from side_by_side import Seconds, checkpoint_of, in_turn, ratio, spread_percent
from suite import run_suite, shared_options

from artoolkit.backends.onnxruntime.profile import profiled
from artoolkit.backends.onnxruntime.runner import open_onnxruntime
from artoolkit.backends.tensorrt.engine_form import with_plain_head
from artoolkit.checks.sparse import disagreeing_share
from artoolkit.cores import usable_cores
from artoolkit.cost.roofline import parts_of
from artoolkit.data import DataSet, open_dataset, spread
from artoolkit.deploy.head import cpu_head
from artoolkit.deploy.onnx import graph_from_checkpoint, write_onnx
from artoolkit.deploy.quantize import Calibration, calibrate, quantized
from artoolkit.evidence.seal import file_sha256
from artoolkit.networks.checkpoint import Checkpoint, read_checkpoint
from artoolkit.preprocess import fit_image
from artoolkit.spec import SessionOptions, Target
from artoolkit.targets import find_target
from artoolkit.words import AUTO

SUITE = "cpu-parts"
Images = NDArray[np.uint8]
PLAIN, PLAIN_LAST = "fp32, Resize and ArgMax", "fp32, Resize and ArgMax channels-last"
DENSE, SPARSE, INT8, INT8_SPARSE = "fp32 dense", "fp32 sparse", "int8 dense", "int8 sparse"
NOISE = ", noise"
PROFILE, CONVOLUTIONS = "profiled", "convolutions"
# What was asked for: at most so many times the convolutions' time, or the float32 dense total.
ASKED = {DENSE: 1.30, SPARSE: 1.15}
ASKED_INT8 = {INT8: 0.75, INT8_SPARSE: 0.55}
IMAGES, CALIBRATION = 4, 4


@dataclass(frozen=True)
class Forms:
    """ONNX files by name, and how int8 was decided."""

    paths: dict[str, Path]
    calibration: Calibration | None


def session_options(cores: int) -> dict[str, SessionOptions]:
    """What is tried: all cores, with spinning and without."""
    return {
        f"{cores} threads": SessionOptions(threads=cores),
        f"{cores} threads, no spinning": SessionOptions(threads=cores, spinning=False),
    }


def read_images(dataset: DataSet, split: str, count: int, imgsz: tuple[int, int]) -> Images:
    """`count` frames spread over a split, at the network's size."""
    chosen = spread(dataset.samples(split), count)
    return np.stack([fit_image(dataset.read_image(sample), imgsz) for sample in chosen])


def write_forms(
    checkpoint: Checkpoint, imgsz: tuple[int, int], folder: Path, calibration: Images | None
) -> Forms:
    """Every form of the network; int8 and the sparse head only with images for calibration."""
    base = find_target("cpu", imgsz=imgsz)
    model, trained = graph_from_checkpoint(checkpoint, base)
    forms = {DENSE: model, PLAIN: plain_form(model), PLAIN_LAST: plain_form(model)}
    cpu_head(forms[PLAIN_LAST], tiled=False)
    found = None
    if calibration is not None:
        int8 = base.model_copy(update={"precision": "int8"})
        found = calibrate(checkpoint, int8, calibration, float_layers=AUTO)
        forms |= {
            SPARSE: graph_from_checkpoint(checkpoint, with_sparse(base))[0],
            INT8: int8_form(checkpoint, int8, found),
            INT8_SPARSE: int8_form(checkpoint, with_sparse(int8), found),
        }
    paths = {
        name: write_onnx(form, trained, folder / f"{index}.onnx").path
        for index, (name, form) in enumerate(forms.items())
    }
    return Forms(paths, found)


def with_sparse(target: Target) -> Target:
    return target.model_copy(update={"head": "sparse"})


def plain_form(dense: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with Resize and ArgMax in the place of the dense head."""
    plain: onnx.ModelProto = onnx.ModelProto.FromString(dense.SerializeToString())
    assert with_plain_head(plain.graph), "the dense head stands for a plain one"
    return plain


def int8_form(checkpoint: Checkpoint, target: Target, calibration: Calibration) -> onnx.ModelProto:
    return quantized(*graph_from_checkpoint(checkpoint, target), target, calibration)[0]


def measured(
    forms: Forms, images: Images, options: SessionOptions, budget_s: float
) -> dict[str, Any]:
    """Seconds of every form, round by round, and milliseconds of the parts of the dense one."""
    noise = np.random.default_rng(0).integers(0, 256, images[:1].shape, np.uint8)
    with ExitStack() as stack:
        runners = {
            name: stack.enter_context(open_onnxruntime(path, chosen=options))
            for name, path in forms.paths.items()
        }
        profile = stack.enter_context(profiled(forms.paths[DENSE], chosen=options))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        name_in = runners[DENSE].spec.inputs[0].name
        runs = {name: _over(images, runner.infer) for name, runner in runners.items()}
        runs |= {
            f"{name}{NOISE}": partial(runners[name].infer, noise)
            for name in (SPARSE, INT8_SPARSE)
            if name in runners
        }
        runs[CONVOLUTIONS] = convolutions_alone(forms.paths[DENSE], images[:1], folder, options)
        runs[PROFILE] = _over(images, lambda image: profile.run({name_in: image}))
        seconds = in_turn(runs, budget_s=budget_s)
        operators = profile.operators(len(seconds[PROFILE]))
        settings = runners[DENSE].spec.settings
    parts: dict[str, float] = defaultdict(float)
    for operator, part in zip(operators, parts_of(operators), strict=True):
        parts[part] += operator.milliseconds
    return {"settings": settings, "seconds": seconds, "parts_ms": dict(parts)}


def _over(images: Images, infer: Any) -> Any:
    """A call without arguments that takes one image after another, from the first one again."""
    state = {"next": 0}

    def run() -> None:
        index = state["next"]
        state["next"] = (index + 1) % len(images)
        infer(images[index : index + 1])

    return run


def labels_and_shares(forms: Forms, images: Images) -> dict[str, Any]:
    """How the forms agree on the labels, and the share of cells that the sparse head computes."""
    noise = np.random.default_rng(0).integers(0, 256, images[:1].shape, np.uint8)
    with open_onnxruntime(forms.paths[DENSE], outputs=("labels", "scores")) as runner:
        dense = [runner.infer(image[None]) for image in (*images, *noise)]
    *shares, of_noise = (disagreeing_share(out["scores"]) for out in dense)
    agreement = {}
    for name in (PLAIN, PLAIN_LAST, SPARSE, INT8, INT8_SPARSE):
        with open_onnxruntime(forms.paths[name]) as runner:
            same = [
                float((runner.infer(image[None])["labels"] == out["labels"]).mean())
                for image, out in zip(images, dense, strict=False)
            ]
        agreement[name] = statistics.fmean(same)
    assert forms.calibration is not None, "only for a trained checkpoint"
    found = forms.calibration.sensitivity
    return {
        "cells_computed": shares,
        "cells_computed_noise": of_noise,
        "agreement_with_dense": agreement,
        "int8_float_layers": forms.calibration.float_layers,
        "int8_sensitivity": found.model_dump(mode="json") if found else None,
    }


def fastest(rows: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The session options under which the convolutions take the least median time."""
    return min(rows, key=lambda row: statistics.median(row["seconds"][CONVOLUTIONS]))


def profiled_ratio(row: Mapping[str, Any]) -> float:
    """All operators of the float32 dense graph over its convolutions, in the profiled session."""
    parts = row["parts_ms"]
    return float(sum(parts.values()) / parts[CONVOLUTIONS])


def table(raw: dict[str, Any]) -> list[str]:
    """Markdown: every form over the convolutions and over the float32 dense total, and what for."""
    by_classes: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for row in raw.values():
        if "seconds" in row:
            by_classes[row["classes"]].append(row)
    lines = [
        "| form | classes | total / convolutions | / fp32 dense | asked |",
        "|---|---|---|---|---|",
    ]
    for classes, rows in by_classes.items():
        best = fastest(rows)
        for name in (n for n in best["seconds"] if n not in (CONVOLUTIONS, PROFILE)):
            asked = f"{ASKED[name]:.2f} of the convolutions" if name in ASKED else ""
            asked = f"{ASKED_INT8[name]:.2f} of fp32 dense" if name in ASKED_INT8 else asked
            cells = " | ".join(beside(best["seconds"], name, to) for to in (CONVOLUTIONS, DENSE))
            lines.append(f"| {name} | {classes} | {cells} | {asked} |")
        lines.append(
            f"| {DENSE}, sum of its operators | {classes} | {profiled_ratio(best):.2f} |  |  |"
        )
    return [*lines, "", sentence(raw["labels"])]


def beside(seconds: Seconds, name: str, reference: str) -> str:
    """`1.14 ± 3 %`: the median over the rounds of the ratio within a round, and half its spread."""
    spread = spread_percent(seconds, name, reference)
    return f"{ratio(seconds, name, reference):.2f} ± {spread:.0f} %"


def sentence(labels: Mapping[str, Any]) -> str:
    """What the sparse head had to compute."""
    shares, of_noise = labels["cells_computed"], labels["cells_computed_noise"]
    return (
        f"The sparse head computed {100 * min(shares):.1f} to {100 * max(shares):.1f} % of the "
        f"cells of the frames, {100 * of_noise:.0f} % of noise."
    )


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--dataset", default="camvid", show_default=True)
@click.option("--data-root", required=True, type=click.Path(path_type=Path, file_okay=False))
@click.option("--imgsz", nargs=2, type=int, default=(1024, 2048), show_default=True)
@click.option("--budget-s", default=90.0, show_default=True, help="Seconds a case.")
@shared_options
def main(
    *, checkpoint: Path, dataset: str, data_root: Path, imgsz: tuple[int, int], budget_s: float,
    machine: str, again: bool,
) -> None:  # fmt: skip
    """Measure every form of CHECKPOINT under every session option, and print the table."""
    trained, data = read_checkpoint(checkpoint), open_dataset(dataset, data_root)
    images = read_images(data, "val", IMAGES, imgsz)
    options = session_options(usable_cores())
    settings = {
        "network": trained.meta.network,
        "checkpoint_sha256": file_sha256(checkpoint),
        "dataset": f"{dataset}, val, frames brought to imgsz",
        "imgsz": imgsz,
        "images": IMAGES,
        "calibration_images": CALIBRATION,
        "budget_s": budget_s,
        "session_options": {name: one.model_dump() for name, one in options.items()},
    }
    with tempfile.TemporaryDirectory() as folder:
        ours, other = Path(folder) / "trained", Path(folder) / "random"
        ours.mkdir()
        other.mkdir()
        forms = write_forms(trained, imgsz, ours, read_images(data, "train", CALIBRATION, imgsz))
        random = write_forms(checkpoint_of(trained.meta.network), imgsz, other, None)
        cases: dict[str, Any] = {"labels": partial(labels_and_shares, forms, images)}
        for found, what in ((forms, trained), (random, checkpoint_of(trained.meta.network))):
            classes = what.meta.num_classes
            for name, one in options.items():
                cases[f"{classes} classes, {name}"] = partial(
                    _case, classes, found, images, one, budget_s
                )
        path = run_suite(SUITE, cases, machine=machine, settings=settings, again=again)
    click.echo(path)


def _case(
    classes: int, forms: Forms, images: Images, options: SessionOptions, budget_s: float
) -> dict[str, Any]:
    return {"classes": classes} | measured(forms, images, options, budget_s)


if __name__ == "__main__":
    main()
