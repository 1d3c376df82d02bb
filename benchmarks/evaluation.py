"""Cost of `artoolkit evaluate` per image, part by part, and beside cityscapesScripts.

    python benchmarks/evaluation.py
    python benchmarks/evaluation.py --data-root CITYSCAPES --split val

Image by image: decoding the image and the label map, inference of an untrained `icnet` on ONNX
Runtime, the confusion matrix (of its prediction, and of noise, which is the worst case). Then the
whole measurement that `evaluate` makes of the same images. The second case has both evaluations
judge the same label files: same classes, same pixels, and the mIoU of each is kept. Without
--data-root the streets are generated.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from copy import copy
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import click
import numpy as np
from side_by_side import Size, exported, words
from suite import is_measured, run_suite, shared_options

from artoolkit.backends.onnxruntime.runner import open_onnxruntime
from artoolkit.backends.runner import Runner
from artoolkit.data import DataSet, Sample, open_dataset
from artoolkit.data.image_files import write_png
from artoolkit.data.label_files import LabelForm, read_train_ids
from artoolkit.data.synthetic import synthesize
from artoolkit.errors import MissingLibraryError
from artoolkit.evaluation.predictor import Pixels, RunnerPredictor
from artoolkit.evaluation.quality import QualityMeasurement, measure_quality
from artoolkit.evidence.verdict import Subject
from artoolkit.metrics import Matrix, confusion_matrix, mean_iou

PARTS = ("image", "label", "inference", "metric")
NOISE, WHOLE = "metric of noise", "evaluate"
OFFICIAL, OURS = "cityscapesScripts", "artoolkit"
SUBJECT = Subject(name="untrained", sha256="0" * 64)
# On the clock and of the processor, all threads together.
CLOCKS = ("wall_s", "cpu_s")
MOVED = (3, 5)
Seconds = dict[str, list[float]]


@contextlib.contextmanager
def streets(data_root: Path | None, images: int, imgsz: Size) -> Iterator[DataSet]:
    """Cityscapes at `data_root`, or as many generated images in its layout."""
    if data_root is not None:
        yield open_dataset("cityscapes", data_root)
        return
    with tempfile.TemporaryDirectory() as scratch:
        synthesize(Path(scratch), train=1, val=images, size_hw=imgsz)
        yield open_dataset("cityscapes", Path(scratch))


class FirstOf:
    """A data set with the first `count` samples of a split alone."""

    def __init__(self, data: DataSet, count: int) -> None:
        self._data, self._count = data, count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._data, name)

    def samples(self, split: str) -> tuple[Sample, ...]:
        return self._data.samples(split)[: self._count]


def timed(call: Callable[[], Any], into: Seconds) -> Any:
    """Result of `call`; its seconds are appended to `into`, by clock."""
    started = time.perf_counter(), time.process_time()
    value = call()
    into["wall_s"].append(time.perf_counter() - started[0])
    into["cpu_s"].append(time.process_time() - started[1])
    return value


def counts(data: DataSet, predicted: Pixels, label: Pixels) -> Matrix:
    return confusion_matrix(predicted, label, num_classes=data.labels.num_classes)


def one_by_one(data: DataSet, split: str, runner: Runner) -> dict[str, Seconds]:
    """Seconds of each part for every image, nothing beside anything else."""
    predict, rng = RunnerPredictor(runner, data.labels), np.random.default_rng(0)
    spent: dict[str, Seconds] = {name: {c: [] for c in CLOCKS} for name in (*PARTS, NOISE)}
    for sample in data.samples(split):
        image = timed(partial(data.read_image, sample), spent["image"])
        label = timed(partial(data.read_label, sample), spent["label"])
        (predicted,) = timed(partial(predict, [image]), spent["inference"])
        timed(partial(counts, data, predicted, label), spent["metric"])
        noise = rng.integers(0, data.labels.num_classes, label.shape).astype(np.uint8)
        timed(partial(counts, data, noise, label), spent[NOISE])
    return spent


def evaluated(data: DataSet, split: str, runner: Runner) -> QualityMeasurement:
    predictor = RunnerPredictor(runner, data.labels)
    return measure_quality(predictor, data, split, subject=SUBJECT)


def cost(data: DataSet, split: str, runner: Runner, *, rounds: int) -> dict[str, Any]:
    """Seconds an image of every part and of the whole, round by round, after one that is not kept.

    Parts and the whole take turns, so that what slows the machine down slows both.
    """
    images = len(data.samples(split))
    kept: dict[str, Seconds] = {n: {c: [] for c in CLOCKS} for n in (*PARTS, NOISE, WHOLE)}
    for number in range(rounds + 1):
        spent = one_by_one(data, split, runner)
        spent[WHOLE] = {clock: [] for clock in CLOCKS}
        timed(partial(evaluated, data, split, runner), spent[WHOLE])
        for name, clock in product(spent, CLOCKS if number else ()):
            kept[name][clock].append(sum(spent[name][clock]) / images)
    return {"images": images, "imgsz": runner.spec.inputs[0].shape[1:3], "seconds": kept}


def beside_official(data: DataSet, split: str, *, rounds: int) -> dict[str, Any]:
    """Seconds an image of both evaluations of the same files, decoding included, and their mIoU.

    The predictions are the labels, moved by a few pixels: wrong at every edge.
    """
    samples = data.samples(split)
    kept: dict[str, Seconds] = {name: {c: [] for c in CLOCKS} for name in (OFFICIAL, OURS)}
    with tempfile.TemporaryDirectory() as scratch:
        files = [Path(scratch) / data.prediction_name(sample) for sample in samples]
        for sample, file in zip(samples, files, strict=True):
            label = data.read_label(sample)
            write_png(data.labels.to_file_ids(np.roll(label, MOVED, (0, 1))), file)
        judges = {
            OFFICIAL: partial(official_miou, files, samples),
            OURS: partial(our_miou, files, samples, data),
        }
        for _ in range(rounds):
            miou = {name: timed(judge, kept[name]) for name, judge in judges.items()}
    for name, clock in product(kept, CLOCKS):
        kept[name][clock] = [total / len(samples) for total in kept[name][clock]]
    return {"images": len(samples), "imgsz": label.shape, "seconds": kept, "mIoU": miou}


def official_miou(files: list[Path], samples: tuple[Sample, ...]) -> float:
    """cityscapesScripts' class score of label files, in percent; without its instance scores."""
    try:
        official: Any = importlib.import_module(
            "cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling"
        )
    except ImportError as error:
        raise MissingLibraryError(
            "the official evaluation needs cityscapesscripts, which is not installed",
            hint="Install it: pip install cityscapesscripts",
        ) from error
    args = copy(official.args)
    args.quiet, args.JSONOutput, args.evalInstLevelScore = True, False, False
    truth = [str(sample.label) for sample in samples]
    with contextlib.redirect_stdout(io.StringIO()):
        scores = official.evaluateImgLists([str(file) for file in files], truth, args)
    return 100 * float(scores["averageScoreClasses"])


def our_miou(files: list[Path], samples: tuple[Sample, ...], data: DataSet) -> float:
    """mIoU of the same files, in percent."""
    pairs = zip(files, samples, strict=True)
    matrices = (
        counts(data, read_train_ids(file, LabelForm(data.labels)), data.read_label(sample))
        for file, sample in pairs
    )
    return 100 * mean_iou(np.sum(list(matrices), axis=0))


def table(raw: dict[str, Any]) -> list[str]:
    """Milliseconds an image of every part, the two bounds, and the official evaluation."""
    lines = []
    if is_measured(row := raw.get("parts", {"unavailable": ""})):
        lines += _parts_table(row)
    if is_measured(row := raw.get("official", {"unavailable": ""})):
        lines += ["", *_official_table(row)]
    return lines


def _parts_table(row: dict[str, Any]) -> list[str]:
    spent = row["seconds"]
    names = {
        "image": "decoding the image", "label": "decoding the label",
        "inference": "inference (`icnet`, untrained)", "metric": "metric",
        NOISE: "metric of noise, its worst case", WHOLE: "`evaluate`, all of it",
    }  # fmt: skip
    lines = [f"| an image of {words(row['imgsz'])} | ms | processor ms |", "|---|---|---|"]
    lines += [f"| {title} | {_milliseconds(spent[name])} |" for name, title in names.items()]
    floor = {
        clock: [sum(times) for times in zip(*(spent[n][clock] for n in PARTS[:3]), strict=True)]
        for clock in CLOCKS
    }
    return [
        *lines,
        f"| `evaluate` / (decoding + inference) | {_ratios(spent[WHOLE], floor)} |",
        f"| metric / decoding the label | {_ratios(spent['metric'], spent['label'])} |",
    ]


def _official_table(row: dict[str, Any]) -> list[str]:
    spent = row["seconds"]
    head = f"| label maps of {words(row['imgsz'])}, from files | ms | processor ms | mIoU (%) |"
    lines = [head, "|---|---|---|---|"]
    lines += [
        f"| {name} | {_milliseconds(spent[name])} | {row['mIoU'][name]:.4f} |"
        for name in (OFFICIAL, OURS)
    ]
    return [*lines, f"| {OFFICIAL} / {OURS} | {_ratios(spent[OFFICIAL], spent[OURS])} | |"]


def _milliseconds(spent: Seconds) -> str:
    return " | ".join(f"{1e3 * statistics.median(spent[clock]):.1f}" for clock in CLOCKS)


def _ratios(upper: Seconds, lower: Seconds) -> str:
    """Medians over the rounds of the ratio within a round, by clock."""
    pairs = (zip(upper[clock], lower[clock], strict=True) for clock in CLOCKS)
    return " | ".join(f"{statistics.median(a / b for a, b in rounds):.2f}" for rounds in pairs)


@click.command()
@shared_options
@click.option("--data-root", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--split", default="val", show_default=True)
@click.option("--images", default=6, show_default=True, type=click.IntRange(min=1))
@click.option("--imgsz", nargs=2, type=int, default=(1024, 2048), show_default=True)
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(min=1))
@click.option("--threads", default=2, show_default=True, help="Threads of ONNX Runtime.")
def main(
    *, machine: str, again: bool, data_root: Path | None, split: str, images: int,
    imgsz: Size, rounds: int, threads: int,
) -> None:  # fmt: skip
    """Time evaluation and write the result file."""
    settings = {
        "data": "generated" if data_root is None else "cityscapes", "split": split,
        "images": images, "imgsz": imgsz, "rounds": rounds, "threads": threads,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch, streets(data_root, images, imgsz) as all_data:
        data = FirstOf(all_data, images)
        model = exported("icnet", Path(scratch), imgsz=imgsz)
        with open_onnxruntime(model, threads=threads) as runner:
            cases: dict[str, Callable[[], dict[str, Any]]] = {
                "parts": partial(cost, data, split, runner, rounds=rounds),
                "official": partial(beside_official, data, split, rounds=rounds),
            }
            path = run_suite(
                "evaluation", cases, machine=machine, settings=settings, again=again
            )  # fmt: skip
    click.echo(path.name)


if __name__ == "__main__":
    main()
