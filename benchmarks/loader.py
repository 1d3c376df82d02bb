"""Images a second that one core augments: the loader of artoolkit beside plain PIL and numpy.

    python benchmarks/loader.py --dataset camvid --data-root CAMVID --recipe camvid
    python benchmarks/loader.py --recipe cityscapes-icnet      (generated streets, 1024 x 2048 PNG)

All rows do the same work on the same files with the same random numbers: decode image and label,
map the label's ids, scale, crop, pad, flip, change colours as the recipe says, and hand out uint8
arrays of the crop's size. They take turns, image by image, in one process on one thread, so that
what else the machine does meets all of them. `decoding alone` is the floor of any loader that
decodes. `--images 2 --rounds 1 --no-save` to try it.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from PIL import Image
from result_file import write_result

from artoolkit.data import DataSet, Sample, open_dataset
from artoolkit.data.synthetic import synthesize
from artoolkit.labels import VOID
from artoolkit.preprocess import Preprocess, fill_color
from artoolkit.training.decoded import Decoded
from artoolkit.training.loader import EvaluationImages, TrainingImages
from artoolkit.training.recipe import Augmentation, load_recipe
from artoolkit.training.transforms import Transform

GENERATED_HW = (1024, 2048)
OWN, CACHED, PLAIN, FLOOR = (
    "artoolkit",
    "artoolkit, decoded cache",
    "PIL and numpy",
    "decoding alone",
)
# Reads one image and leaves the crop; the number is that of the round.
Row = Callable[[int, int], Any]


def plain_pipeline(
    sample: Sample,
    lut: np.ndarray[Any, Any],
    settings: Augmentation,
    fill: tuple[int, ...],
    rng: np.random.Generator,
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """As most public segmentation code does it: scale the whole pair, pad, crop, then colours."""
    assert sample.label is not None, "every image has its label here"
    image = Image.open(sample.image).convert("RGB")
    labels = Image.fromarray(lut[np.asarray(Image.open(sample.label))])
    scale = float(np.exp(rng.uniform(*np.log(settings.scale))))
    size = (round(image.width * scale), round(image.height * scale))
    image = image.resize(size, Image.Resampling.BILINEAR)
    labels = labels.resize(size, Image.Resampling.NEAREST)
    pixels, ids = np.asarray(image), np.asarray(labels)
    below, right = (max(0, c - s) for c, s in zip(settings.crop, ids.shape, strict=True))
    if below or right:
        void = np.full((ids.shape[0] + below, ids.shape[1] + right), VOID, np.uint8)
        void[: ids.shape[0], : ids.shape[1]] = ids
        padded = np.empty((*void.shape, 3), np.uint8)
        padded[:] = fill
        padded[: ids.shape[0], : ids.shape[1]] = pixels
        pixels, ids = padded, void
    top, left = (
        int(rng.integers(s - c + 1)) for c, s in zip(settings.crop, ids.shape, strict=True)
    )
    rows, columns = slice(top, top + settings.crop[0]), slice(left, left + settings.crop[1])
    pixels, ids = _recoloured(pixels[rows, columns], settings, rng), ids[rows, columns]
    if rng.random() < settings.flip:
        pixels, ids = pixels[:, ::-1], ids[:, ::-1]
    return np.ascontiguousarray(pixels), np.ascontiguousarray(ids)


def _recoloured(
    pixels: np.ndarray[Any, Any], settings: Augmentation, rng: np.random.Generator
) -> np.ndarray[Any, Any]:
    values = pixels
    if settings.saturation:
        factor = 1 + rng.uniform(-settings.saturation, settings.saturation)
        grey = values @ np.array([0.299, 0.587, 0.114], np.float32)
        values = values * np.float32(factor) + grey[..., None] * np.float32(1 - factor)
    if settings.contrast or settings.brightness:
        contrast = 1 + rng.uniform(-settings.contrast, settings.contrast)
        brightness = 1 + rng.uniform(-settings.brightness, settings.brightness)
        middle = np.float32(values.mean())
        values = ((values - middle) * np.float32(contrast) + middle) * np.float32(brightness)
    return values if values is pixels else np.clip(np.rint(values), 0, 255).astype(np.uint8)


def pipelines(
    data: DataSet, samples: tuple[Sample, ...], settings: Augmentation, folder: Path
) -> dict[str, Row]:
    """Pipelines to time, by name; the cache lies in `folder`."""
    fill = fill_color(Preprocess())
    transform = Transform(settings, fill)
    own = TrainingImages(EvaluationImages(data, samples), transform, 0)
    cached = TrainingImages(EvaluationImages(Decoded(data, folder), samples), transform, 0)
    lut = np.full(256, VOID, np.uint8)
    lut[list(data.labels.file_ids)] = np.arange(data.labels.num_classes)

    def plain(turn: int, index: int) -> Any:
        rng = np.random.default_rng([turn, index])
        return plain_pipeline(samples[index], lut, settings, fill, rng)

    def floor(_turn: int, index: int) -> Any:
        label = samples[index].label
        assert label is not None, "every image has its label here"
        return np.asarray(Image.open(samples[index].image)), np.asarray(Image.open(label))

    return {
        OWN: lambda turn, index: own[turn, index],
        CACHED: lambda turn, index: cached[turn, index],
        PLAIN: plain,
        FLOOR: floor,
    }


def measured(rows: dict[str, Row], images: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of processor time for each image and round; the first round warms up and fills."""
    samples: dict[str, list[float]] = {name: [] for name in rows}
    for turn in range(rounds + 1):
        for index in range(images):
            for name, row in rows.items():
                started = time.thread_time()
                row(turn, index)
                if turn:
                    samples[name].append(time.thread_time() - started)
    return samples


def table(raw: dict[str, list[float]]) -> list[str]:
    """Median images a second of one core, and beside PIL and numpy the median of paired ratios."""
    lines = ["| | images a second, one core | times PIL and numpy |", "|---|---|---|"]
    for name, seconds in raw.items():
        ratio = statistics.median(p / s for p, s in zip(raw[PLAIN], seconds, strict=True))
        lines.append(f"| {name} | {1 / statistics.median(seconds):.1f} | {ratio:.2f} |")
    return lines


@click.command()
@click.option("--machine", default="x86-2core", show_default=True, help="Kind of machine.")
@click.option("--dataset", help="Default: generated streets in Cityscapes' layout.")
@click.option("--data-root", type=click.Path(path_type=Path))
@click.option("--recipe", default="cityscapes-icnet", show_default=True, help="Its augmentation.")
@click.option("--images", default=20, show_default=True, type=click.IntRange(min=1))
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(min=1))
@click.option("--save/--no-save", default=True, help="Write the result file.")
def main(
    *, machine: str, dataset: str | None, data_root: Path | None, recipe: str, images: int,
    rounds: int, save: bool,
) -> None:  # fmt: skip
    """Images a second and core; see the top of this file."""
    cv2.setNumThreads(0)
    settings = load_recipe(recipe).augmentation
    with tempfile.TemporaryDirectory() as scratch:
        if dataset is None:
            data_root = Path(scratch, "streets")
            synthesize(data_root, train=images, val=1, size_hw=GENERATED_HW)
        data = open_dataset(dataset or "cityscapes", data_root)
        found = data.samples("train")
        samples = found[:: max(1, len(found) // images)][:images]
        rows = pipelines(data, samples, settings, Path(scratch, "decoded"))
        before = os.getloadavg()
        raw = measured(rows, len(samples), rounds)
    for line in table(raw):
        click.echo(line)
    if save:
        about = {
            "dataset": dataset or "generated streets, PNG",
            "recipe": recipe,
            "augmentation": settings.model_dump(mode="json"),
            "images": len(samples),
            "rounds": rounds,
            "clock": "processor time of the thread",
            "load_average": {"before": before, "after": os.getloadavg()},
        }
        suite = f"loader-{dataset or 'generated'}"
        path = write_result(suite, machine=machine, device="cpu", settings=about, raw=raw)
        click.echo(f"written: {path.name}")


if __name__ == "__main__":
    main()
