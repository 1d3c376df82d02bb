"""Cost of half precision and int8 in mIoU on CamVid, in ONNX Runtime and OpenVINO.

    python benchmarks/int8.py BASELINE [CANDIDATE] --data-root CAMVID [--packages PEERS]

Both are checkpoints. int8, the layers that stay in float included, is decided on the baseline with
its training images and reused for the candidate, as an export does it. ONNX Runtime computes all
forms on the CPU: u8 activations are what a CPU is given, s8 what TensorRT is given. OpenVINO runs
the same files in bf16 where int8 leaves them in float, beside NNCF's quantisation of the plain
graph on the same images, where NNCF is under PEERS (`peer_networks.py`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from peer_networks import nncf_quantised
from result_file import write_result
from side_by_side import open_openvino

from artoolkit.backends.onnxruntime.runner import open_onnxruntime
from artoolkit.backends.runner import Runner
from artoolkit.checks.accuracy import compare_quality
from artoolkit.cli.options import CommaList
from artoolkit.cli.progress import Report, progress_bar
from artoolkit.data import DataSet, open_dataset, spread
from artoolkit.deploy.onnx import graph_from_checkpoint, write_onnx
from artoolkit.deploy.parity import largest_errors, layer_errors
from artoolkit.deploy.quantize import Calibration, calibrate, quantized
from artoolkit.errors import MissingLibraryError
from artoolkit.evaluation.predictor import RunnerPredictor
from artoolkit.evaluation.quality import QualityMeasurement, measure_quality
from artoolkit.evidence.seal import file_sha256
from artoolkit.evidence.verdict import Subject
from artoolkit.networks.checkpoint import Checkpoint, read_checkpoint
from artoolkit.preprocess import fit_image
from artoolkit.spec import Target
from artoolkit.words import AUTO

Images = NDArray[np.uint8]
REFERENCE = "fp32"
FORMS: dict[str, dict[str, str]] = {
    "fp32": {"precision": "fp32", "backend": "onnxruntime"},
    "fp16": {"precision": "fp16", "backend": "onnxruntime"},
    "int8 u8": {"precision": "int8", "backend": "onnxruntime"},
    "int8 s8": {"precision": "int8", "backend": "tensorrt"},
}
NNCF = "NNCF + bf16"
# On OpenVINO: the form whose file is run.
OPENVINO = {"bf16": REFERENCE, "int8 u8 + bf16": "int8 u8", NNCF: NNCF}
MARGIN_POINTS = 0.5


def target_of(form: str, imgsz: tuple[int, int]) -> Target:
    return Target.model_validate({"name": form, "imgsz": imgsz, **FORMS[form]})


@dataclass(frozen=True)
class CalibrationImages:
    """The data set, its images for calibration at the network's size, and one for the layers."""

    dataset: DataSet
    calibration: Images
    layers: Images


def read_images(dataset: DataSet, imgsz: tuple[int, int], count: int) -> CalibrationImages:
    """`count` training images spread over the split, and the first validation image."""
    chosen = spread(dataset.samples("train"), count)
    images = [fit_image(dataset.read_image(sample), imgsz) for sample in chosen]
    first = fit_image(dataset.read_image(dataset.samples("val")[0]), imgsz)
    return CalibrationImages(dataset, np.stack(images), first[None])


def write_forms(
    checkpoint: Checkpoint, imgsz: tuple[int, int], folder: Path,
    calibrations: dict[str, Calibration], images: Images, packages: Path | None = None,
    forms: Sequence[str] = tuple(FORMS),
) -> dict[str, Path]:  # fmt: skip
    """Every form as ONNX file; int8 is calibrated where `calibrations` does not hold it yet."""
    paths = {}
    for form in forms:
        target = target_of(form, imgsz)
        model, trained = graph_from_checkpoint(checkpoint, target)
        if target.precision == "int8":
            if form not in calibrations:
                calibrations[form] = calibrate(checkpoint, target, images, float_layers=AUTO)
            model, trained = quantized(model, trained, target, calibrations[form])
        paths[form] = write_onnx(model, trained, folder / f"{form}.onnx").path
    with suppress(MissingLibraryError):
        paths[NNCF] = nncf_quantised(paths[REFERENCE], images, folder / "nncf.xml", packages)
    return paths


def opened(form: str, paths: dict[str, Path]) -> Runner | None:
    """The form on its runtime; None for NNCF's where that is not installed."""
    if form in FORMS:
        return open_onnxruntime(paths[form])
    path = paths.get(OPENVINO[form])
    return None if path is None else open_openvino(path, "bf16" if form == "bf16" else "int8")


def quality(
    runner: Runner, path: Path, checkpoint: Checkpoint, dataset: DataSet, what: str, report: Report
) -> QualityMeasurement:
    with RunnerPredictor(runner, checkpoint.meta.labels) as predictor:
        return measure_quality(
            predictor,
            dataset,
            "val",
            subject=Subject(name=what, sha256=file_sha256(path)),
            progress=lambda done, total: report(what, done / total),
        )


def row(measured: QualityMeasurement, reference: QualityMeasurement) -> dict[str, Any]:
    """IoU of every class, and the difference to float32 with its paired-bootstrap interval."""
    reading = compare_quality(reference, measured, margin_points=MARGIN_POINTS)
    return {
        "metrics": measured.metrics,
        "images": len(measured.images),
        "fingerprint": measured.fingerprint,
        "difference_points": reading.difference_points.model_dump(mode="json"),
    }


def decided(calibration: Calibration) -> dict[str, Any]:
    """The layers that stay in float, and what was measured to find them."""
    found = calibration.sensitivity
    return {
        "layers": calibration.float_layers,
        "sensitivity": None if found is None else found.model_dump(mode="json"),
    }


def layers(paths: dict[str, Path], image: Images) -> dict[str, Any]:
    """The layers that each form computes worst, against float32 on one image."""
    found: dict[str, Any] = {}
    for form in FORMS:
        if form != REFERENCE and form in paths:
            errors = layer_errors(paths[REFERENCE], paths[form], image)
            found[form] = [asdict(error) for error in largest_errors(errors)]
    return found


def measure(
    checkpoints: Sequence[tuple[str, Path]], images: CalibrationImages, imgsz: tuple[int, int],
    report: Report, packages: Path | None = None, forms: Sequence[str] = tuple(FORMS),
) -> dict[str, Any]:  # fmt: skip
    """Rows by role and form."""
    calibrations: dict[str, Calibration] = {}
    raw: dict[str, Any] = {}
    for role, path in checkpoints:
        checkpoint = read_checkpoint(path)
        with tempfile.TemporaryDirectory() as folder:
            report(f"{role}: exporting", 0.0)
            paths = write_forms(
                checkpoint, imgsz, Path(folder), calibrations, images.calibration, packages, forms
            )
            measured = {}
            for form in (*forms, *OPENVINO):
                if (runner := opened(form, paths)) is None:
                    continue
                file = paths[OPENVINO.get(form, form)]
                measured[form] = quality(
                    runner, file, checkpoint, images.dataset, f"{role} {form}", report
                )
            raw[role] = {
                "checkpoint_sha256": file_sha256(path),
                "forms": {form: row(one, measured[REFERENCE]) for form, one in measured.items()},
                "largest_layer_errors": layers(paths, images.layers),
                "float_layers": {form: decided(one) for form, one in calibrations.items()},
            }
    return raw


def table(raw: dict[str, Any]) -> list[str]:
    """Markdown: mIoU of every form, and how far it lies from float32."""
    known = [form for form in (*FORMS, *OPENVINO)
             if any(form in found["forms"] for found in raw.values())]  # fmt: skip
    lines = ["| checkpoint | " + " | ".join(known) + " |", "|---" * (len(known) + 1) + "|"]
    for role, found in raw.items():
        cells = []
        for form in known:
            one = found["forms"][form]
            apart = one["difference_points"]["estimate"]
            words = "" if form == REFERENCE else f" ({apart:+.2f})"
            cells.append(f"{one['metrics']['mIoU']:.2f}{words}")
        lines.append(f"| {role} | " + " | ".join(cells) + " |")
    return lines


@click.command()
@click.argument("baseline", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("candidate", required=False,
                type=click.Path(path_type=Path, exists=True, dir_okay=False))  # fmt: skip
@click.option("--dataset", default="camvid", show_default=True)
@click.option("--data-root", required=True, type=click.Path(path_type=Path, file_okay=False))
@click.option("--imgsz", nargs=2, type=int, default=(360, 480), show_default=True)
@click.option("--calibration", default=32, show_default=True, help="Training images for int8.")
@click.option(
    "--forms",
    type=CommaList(str),
    default=",".join(FORMS),
    show_default=True,
    help="Those of ONNX Runtime; fp32 and int8 u8 are OpenVINO's too.",
)
@click.option(
    "--packages",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder with nncf/, made by pip install --target.",
)
@click.option("--machine", default="x86-2core", show_default=True, help="Kind of machine.")
def main(
    *, baseline: Path, candidate: Path | None, dataset: str, data_root: Path,
    imgsz: tuple[int, int], calibration: int, packages: Path | None, machine: str,
    forms: tuple[str, ...],
) -> None:  # fmt: skip
    """Evaluate every form of BASELINE and CANDIDATE, and write the result file."""
    checkpoints = [("baseline", baseline)] + ([("candidate", candidate)] if candidate else [])
    images = read_images(open_dataset(dataset, data_root), imgsz, calibration)
    with progress_bar() as report:
        raw = measure(checkpoints, images, imgsz, report, packages, forms)
    network = read_checkpoint(baseline).meta.network
    settings = {"network": network, "dataset": dataset, "imgsz": imgsz,
                "calibration_images": calibration}  # fmt: skip
    path = write_result(f"int8-{dataset}", machine=machine, device="cpu",
                        settings=settings, raw=raw)  # fmt: skip
    click.echo("\n".join(table(raw)))
    click.echo(path)


if __name__ == "__main__":
    main()
