"""Every kind of void in Cityscapes, drawn and judged by cityscapesScripts, measured as we measure.

`test_metrics.py` compares on generated streets; here each of the official void classes has pixels.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from by_function import ByFunction
from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as official
from cityscapesscripts.helpers.labels import labels as LABELS
from cityscapesscripts.helpers.labels import name2label
from cityscapesscripts.preparation.json2labelImg import json2labelImg
from PIL import Image

from artoolkit.data import open_dataset
from artoolkit.data.dataset import DataSet
from artoolkit.evaluation.quality import measure_quality
from artoolkit.evidence.verdict import Subject

CELL, COLUMNS = 12, 8
VOIDS = [label.name for label in LABELS if label.ignoreInEval]
JUDGED = [label.name for label in LABELS if not label.ignoreInEval]
DRAWN = [label.name for label in LABELS if label.id >= 0 and label.name != "train"]
SIZE = (CELL * (len(DRAWN) // COLUMNS + 2), CELL * COLUMNS)


def rectangle(label: str, left: int, top: int, side: int) -> dict[str, Any]:
    corners = [[left, top], [left + side, top], [left + side, top + side], [left, top + side]]
    return {"label": label, "polygon": corners}


def place(index: int) -> tuple[int, int]:
    """Left and top of a cell; the last row stays as nobody drew it: unlabeled."""
    return CELL * (index % COLUMNS), CELL * (index // COLUMNS)


def draw(path: Path, seed: int) -> None:
    """labelIds as the official tool draws them: a cell a class, and a license plate on the car."""
    order = np.random.default_rng(seed).permutation(len(DRAWN))
    cells = {DRAWN[name]: place(index) for index, name in enumerate(order)}
    objects = [rectangle(name, *corner, CELL - 1) for name, corner in cells.items()]
    left, top = cells["car"]
    objects.append(rectangle("license plate", left + 3, top + 3, 5))
    polygons = path.with_name(path.name.replace("_labelIds.png", "_polygons.json"))
    text = {"imgHeight": SIZE[0], "imgWidth": SIZE[1], "objects": objects}
    polygons.write_text(json.dumps(text))
    json2labelImg(str(polygons), str(path), "ids")


def predict(truth: np.ndarray, seed: int) -> np.ndarray:
    """A third of the pixels of every class goes to any class, void ones too."""
    random = np.random.default_rng(seed)
    ids = [label.id for label in LABELS if label.id >= 0]
    return np.where(random.random(truth.shape) < 0.3, random.choice(ids, truth.shape), truth)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images in the official layout, and predictions of them in `results/`."""
    root = tmp_path_factory.mktemp("voids")
    for seed in range(2):
        name = f"aachen_{seed:06}_000019"
        image = root / "leftImg8bit" / "val" / "aachen" / f"{name}_leftImg8bit.png"
        truth = root / "gtFine" / "val" / "aachen" / f"{name}_gtFine_labelIds.png"
        for path in (image, truth, root / "results" / "x"):
            path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(image)
        draw(truth, seed)
        predicted = predict(np.array(Image.open(truth)), seed).astype(np.uint8)
        Image.fromarray(predicted).save(root / "results" / f"{name}_pred_labelIds.png")
    return root


def judge(root: Path) -> dict[str, Any]:
    """What cityscapesScripts says."""
    args = copy(official.args)
    args.predictionPath, args.predictionWalk = str(root / "results"), None
    args.evalInstLevelScore, args.JSONOutput, args.quiet = False, False, True
    truths = [str(path) for path in sorted(root.glob("gtFine/*/*/*_labelIds.png"))]
    results: dict[str, Any] = official.evaluateImgLists(
        [official.getPrediction(args, truth) for truth in truths], truths, args
    )
    return results


@pytest.fixture(scope="module")
def judged(root: Path) -> dict[str, Any]:
    return judge(root)


def measured(root: Path) -> dict[str, float | None]:
    """Our metrics of the same files."""
    dataset: DataSet = open_dataset("cityscapes", root)
    table = dataset.labels
    waiting = iter(sorted(root.glob("results/*.png")))

    def predictor(images: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [table.to_train_ids(np.array(Image.open(next(waiting)))) for _ in images]

    return measure_quality(
        ByFunction(predictor, table), dataset, "val", subject=Subject(name="x", sha256="")
    ).metrics


def test_every_void_class_but_the_license_plate_has_pixels(judged: dict[str, Any]) -> None:
    """Otherwise the comparison below would show less than it seems to."""
    counts = np.array(judged["confMatrix"])
    for name in VOIDS:
        if name != "license plate":
            assert counts[name2label[name].id].sum() > 0, name
    assert {"unlabeled", "out of roi", "license plate"} <= set(VOIDS)


def by_class(theirs: dict[str, Any]) -> dict[str, float | None]:
    """cityscapesScripts' mean and classes under our names, in percent; None where undefined."""
    scores = {f"IoU.{n}": theirs["classScores"][n] for n in JUDGED}
    scores["mIoU"] = theirs["averageScoreClasses"]
    return {name: None if np.isnan(score) else 100 * score for name, score in scores.items()}


def of_interest(ours: dict[str, float | None]) -> dict[str, float | None]:
    return {name: ours[name] for name in ("mIoU", *(f"IoU.{n}" for n in JUDGED))}


def test_every_class_and_the_mean_are_cityscapes_scripts(
    root: Path, judged: dict[str, Any]
) -> None:
    assert len(JUDGED) == 19
    assert of_interest(measured(root)) == pytest.approx(by_class(judged), abs=1e-4)


def test_a_license_plate_is_its_car_in_official_files_and_void_where_it_was_drawn(
    root: Path, tmp_path: Path
) -> None:
    """The official tool leaves out what has id -1; other tools write -1 as the byte 255."""
    copied = Path(shutil.copytree(root, tmp_path / "copied"))
    paths = sorted(copied.glob("gtFine/*/*/*_labelIds.png"))
    for path in paths:
        truth = np.array(Image.open(path))
        assert 255 not in truth
        rows, columns = np.nonzero(truth == name2label["car"].id)
        assert len(rows) == CELL * CELL
        plate = np.s_[rows.min() + 3 : rows.min() + 8, columns.min() + 3 : columns.min() + 8]
        truth[plate] = 255
        Image.fromarray(truth).save(path)
    ours = measured(copied)
    assert ours["IoU.car"] != measured(root)["IoU.car"]
    for path in paths:  # cityscapesScripts has no number for it in a file: unlabeled
        truth = np.array(Image.open(path))
        Image.fromarray(np.where(truth == 255, 0, truth).astype(np.uint8)).save(path)
    assert of_interest(ours) == pytest.approx(by_class(judge(copied)), abs=1e-4)
