"""Cost of the deployed graph of `icnet` on a CPU beside its convolutions, in float and in int8.

    python benchmarks/cpu_parts.py runs/camvid-full/ar/model.safetensors --data-root CAMVID

Totals run uint8 images to labels, the convolutions are those of the float32 graph alone
(`convolutions.py`), all with the profiler off and in turn in one process, on the same frames, under
each of several session options; those under which the convolutions are fastest are shown. Beside it
the sum of the operators' medians over that of the convolutions, from one profiled session, which
bursts of other work disturb less. The frames are validation images brought to the size, the
checkpoint a trained one, on which int8 is decided. The graph for 19 classes has random weights: it
takes the same time with any.
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
from convolutions import convolutions_alone
from numpy.typing import NDArray
from side_by_side import Seconds, checkpoint_of, in_turn, ratio, spread_percent
from suite import run_suite, shared_options

from artoolkit.backends.onnxruntime.profile import profiled
from artoolkit.backends.onnxruntime.runner import open_onnxruntime
from artoolkit.cores import usable_cores
from artoolkit.cost.roofline import parts_of
from artoolkit.data import DataSet, open_dataset, spread
from artoolkit.deploy.onnx import graph_from_checkpoint, write_onnx
from artoolkit.deploy.quantize import Calibration, calibrate, quantized
from artoolkit.evidence.seal import file_sha256
from artoolkit.networks.checkpoint import Checkpoint, read_checkpoint
from artoolkit.preprocess import fit_image
from artoolkit.spec import SessionOptions
from artoolkit.targets import find_target
from artoolkit.words import AUTO

SUITE = "cpu-parts"
Images = NDArray[np.uint8]
FLOAT, INT8 = "fp32, Resize and ArgMax", "int8, Resize and ArgMax"
PROFILE, CONVOLUTIONS = "profiled", "convolutions"
# What was asked for: at most so many times the convolutions' time, or the float32 total.
ASKED = {FLOAT: f"1.30 of the {CONVOLUTIONS}", INT8: "0.75 of fp32"}
# In files of earlier versions: a head that is gone.
GONE = "sparse"
IMAGES, CALIBRATION = 4, 4


@dataclass(frozen=True)
class Forms:
    """ONNX files by name, and how int8 was decided."""

    paths: dict[str, Path]
    calibration: Calibration | None


def session_options(cores: int) -> dict[str, SessionOptions]:
    """Session options that are tried: all cores, with spinning and without."""
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
    """Both precisions of the network; int8 only with images for calibration."""
    base = find_target("cpu", imgsz=imgsz)
    model, trained = graph_from_checkpoint(checkpoint, base)
    paths, found = {FLOAT: write_onnx(model, trained, folder / "fp32.onnx").path}, None
    if calibration is not None:
        int8 = base.model_copy(update={"precision": "int8"})
        found = calibrate(checkpoint, int8, calibration, float_layers=AUTO)
        integers = quantized(model, trained, int8, found)
        paths[INT8] = write_onnx(*integers, folder / "int8.onnx").path
    return Forms(paths, found)


def measured(
    forms: Forms, images: Images, options: SessionOptions, budget_s: float
) -> dict[str, Any]:
    """Seconds of every form, round by round, and milliseconds of the parts of the float one."""
    with ExitStack() as stack:
        runners = {
            name: stack.enter_context(open_onnxruntime(path, chosen=options))
            for name, path in forms.paths.items()
        }
        profile = stack.enter_context(profiled(forms.paths[FLOAT], chosen=options))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        name_in = runners[FLOAT].spec.inputs[0].name
        runs = {name: _over(images, runner.infer) for name, runner in runners.items()}
        runs[CONVOLUTIONS] = convolutions_alone(forms.paths[FLOAT], images[:1], folder, options)
        runs[PROFILE] = _over(images, lambda image: profile.run({name_in: image}))
        seconds = in_turn(runs, budget_s=budget_s)
        operators = profile.operators(len(seconds[PROFILE]))
        settings = runners[FLOAT].spec.settings
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


def int8_labels(forms: Forms, images: Images) -> dict[str, Any]:
    """Decision on int8, and the share of pixels to which it gives the class of float32."""
    labels = {}
    for name, path in forms.paths.items():
        with open_onnxruntime(path) as runner:
            labels[name] = np.stack([runner.infer(image[None])["labels"] for image in images])
    assert forms.calibration is not None, "only for a trained checkpoint"
    found = forms.calibration.sensitivity
    return {
        "agreement_with_float": float((labels[INT8] == labels[FLOAT]).mean()),
        "int8_float_layers": forms.calibration.float_layers,
        "int8_sensitivity": found.model_dump(mode="json") if found else None,
    }


def fastest(rows: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The session options under which the convolutions take the least median time."""
    return min(rows, key=lambda row: statistics.median(row["seconds"][CONVOLUTIONS]))


def profiled_ratio(row: Mapping[str, Any]) -> float:
    """All operators of the float32 graph over its convolutions, in the profiled session."""
    parts = row["parts_ms"]
    return float(sum(parts.values()) / parts[CONVOLUTIONS])


def table(raw: dict[str, Any]) -> list[str]:
    """Markdown: every form over the convolutions and over the float32 total, and what was asked."""
    by_classes: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for row in raw.values():
        if "seconds" in row:
            by_classes[row["classes"]].append(row)
    lines = [
        f"| form | classes | total / convolutions | / {FLOAT} | requested |",
        "|---|---|---|---|---|",
    ]
    for classes, rows in by_classes.items():
        best = fastest(rows)
        for name in best["seconds"]:
            if name in (CONVOLUTIONS, PROFILE) or GONE in name:
                continue
            cells = " | ".join(beside(best["seconds"], name, to) for to in (CONVOLUTIONS, FLOAT))
            lines.append(f"| {name} | {classes} | {cells} | {ASKED.get(name, '')} |")
        lines.append(
            f"| fp32, sum of its operators | {classes} | {profiled_ratio(best):.2f} |  |  |"
        )
    return lines


def beside(seconds: Seconds, name: str, reference: str) -> str:
    """`1.14 ± 3 %`: the median over the rounds of the ratio within a round, and half its spread."""
    spread = spread_percent(seconds, name, reference)
    return f"{ratio(seconds, name, reference):.2f} ± {spread:.0f} %"


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
        cases: dict[str, Any] = {"labels": partial(int8_labels, forms, images)}
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
