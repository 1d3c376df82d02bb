"""`artoolkit quickstart`, timed and counted; README.md and docs/ show the run that this one picks.

    python benchmarks/demo.py              one run, then the example report, picture and tables
    python benchmarks/demo.py --runs 10    how often it ends in PASS: half an hour, a quiet machine

Stopped, the same command goes on with the next run; --again begins anew. Shown is the first run in
which every required check passed, or else the last one.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import result_file
import tables
from camvid_table import checks_table
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo
from suite import run_suite, shared_options

from artoolkit.backends import open_runner
from artoolkit.cli.quickstart import journey, miou_of
from artoolkit.data import open_dataset
from artoolkit.evaluation.quality import QualityMeasurement
from artoolkit.evidence.bundle import Bundle, open_bundle
from artoolkit.evidence.records import read_record
from artoolkit.evidence.verdict import Verdict
from artoolkit.metrics import class_iou
from artoolkit.report.overlay import overlay

ROOT = Path(__file__).parent.parent
REPORT, PICTURE = ROOT / "docs" / "example-report.html", ROOT / "docs" / "quickstart.png"
COLUMNS = ("image", "label", "baseline", "fine-tuned")
# Streets by their gain in IoU: a typical one, and two where it can be seen. Their ranks are shown.
QUANTILES = (0.5, 0.75, 0.95)
BAR = 16  # pixels of a line of text


def verdict_of(bundle: Bundle) -> Verdict:
    """The newest verdict in a bundle."""
    return read_record(bundle.proofs[0] / "verdict.json", Verdict)


def one_run(folder: Path) -> dict[str, Any]:
    """Quickstart in a new folder: seconds, the load before, and its outcome."""
    shutil.rmtree(folder, ignore_errors=True)
    load, began = os.getloadavg()[0], time.time()
    command = [sys.executable, "-m", "artoolkit", "quickstart", "--out", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True)
    return {"seconds": time.time() - began, "load": load, **outcome(folder, began)}


def outcome(folder: Path, began: float) -> dict[str, Any]:
    """Seconds of every step of a quickstart since the time `began`, its mIoU and answers."""
    steps = journey(folder)
    ends = [(folder / ".finished" / step.name).stat().st_mtime for step in steps]
    times = zip(steps, [began, *ends], ends, strict=False)
    verdict = verdict_of(open_bundle(folder / "bundle"))
    baseline, control = miou_of(folder / "runs" / "control")
    return {
        "steps": {step.name: end - before for step, before, end in times},
        "mIoU": {
            "baseline": baseline,
            "control": control,
            "fine-tuned": miou_of(folder / "runs" / "ar")[1],
        },
        "verdict_sha256": verdict.sha256(),
        "result": verdict.result,
        "checks": [check.model_dump(mode="json", exclude={"numbers"}) for check in verdict.checks],
    }


def shown(raw: dict[str, Any]) -> str:
    """Name of the run that is shown."""
    return next((name for name, run in raw.items() if run["result"] == "PASS"), list(raw)[-1])


def verdict(raw: dict[str, Any]) -> list[str]:
    """Markdown: every check of the shown run with its answer."""
    return checks_table(raw[shown(raw)]["checks"])


def counts(raw: dict[str, Any]) -> list[str]:
    """Markdown: answers of all runs, their seconds and what else the machine did."""
    runs = list(raw.values())
    answers = [run["result"] for run in runs]
    gains = {
        name: statistics.median(run["mIoU"][name] - run["mIoU"]["baseline"] for run in runs)
        for name in ("control", "fine-tuned")
    }
    steps = {
        name: statistics.median(run["steps"][name] for run in runs) for name in runs[0]["steps"]
    }
    loads = [run["load"] for run in runs]
    return [
        "| quantity | value |",
        "|---|---|",
        *(f"| {one} | {answers.count(one)} of {len(runs)} |" for one in dict.fromkeys(answers)),
        f"| seconds, median | {statistics.median(run['seconds'] for run in runs):.0f} |",
        f"| of it | {', '.join(f'{name} {s:.0f}' for name, s in steps.items())} |",
        f"| load before | {min(loads):.1f} to {max(loads):.1f} |",
        f"| mIoU, control against baseline | {gains['control']:+.2f} points |",
        f"| mIoU, with the loss against baseline | {gains['fine-tuned']:+.2f} points |",
    ]


def gains(bundle: Bundle) -> NDArray[np.float64]:
    """Points that every validation image gained: mean IoU of its classes, less the baseline's."""
    mean = []
    for role in ("baseline", "candidate"):
        measured = read_record(bundle.proofs[0] / f"quality-{role}.json", QualityMeasurement)
        ious = [class_iou(m)[m.sum(1) > 0] for m in measured.matrices()]
        mean.append([100 * float(np.nanmean(iou)) for iou in ious])
    return np.subtract(mean[1], mean[0])


def picture(folder: Path) -> Image.Image:
    """A row a street: image, label, baseline's and fine-tuned network's classes, named above."""
    data, bundle = open_dataset("cityscapes", folder / "data"), open_bundle(folder / "bundle")
    assert bundle.baseline is not None, "quickstart exports with a baseline"
    found, samples = gains(bundle), data.samples("val")
    ranked = np.argsort(found)
    rows, words = [], []
    with open_runner(bundle.baseline) as before, open_runner(bundle) as after:
        for quantile in QUANTILES:
            index = int(ranked[int(quantile * (len(ranked) - 1))])
            words.append(
                f"{found[index]:+.1f} points in this image, more than in {quantile:.0%} of them"
            )
            image, label = data.read_image(samples[index]), data.read_label(samples[index])
            maps = (label, *(r.infer(image[None])["labels"][0] for r in (before, after)))
            rows.append(
                np.hstack([image, *(overlay(image, m, data.labels, opacity=0.7) for m in maps)])
            )
    height, width = rows[0].shape[:2]
    sheet = Image.new("RGB", (width, BAR + len(rows) * (height + BAR)), "white")
    pen = ImageDraw.Draw(sheet)
    for number, name in enumerate(COLUMNS):
        pen.text((number * width // len(COLUMNS) + 4, 3), name, fill="black")
    for number, (row, line) in enumerate(zip(rows, words, strict=True)):
        top = BAR + number * (height + BAR)
        sheet.paste(Image.fromarray(row), (0, top))
        pen.text((4, top + height + 3), line, fill="black")
    return sheet


@click.command()
@click.option("--runs", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), default=Path("runs/demo"))
@shared_options
def main(*, runs: int, folder: Path, machine: str, again: bool) -> None:
    """Run quickstart so often, each in a folder below FOLDER, and renew what shows it."""
    names = [f"run {number}" for number in range(1, runs + 1)]
    cases = {name: lambda name=name: one_run(folder / name.replace(" ", "-")) for name in names}
    path = run_suite("demo", cases, machine=machine, settings={}, again=again)
    raw = read_record(path, result_file.ResultFile).raw
    chosen = folder / shown(raw).replace(" ", "-")
    shutil.copy(chosen / "report.html", REPORT)
    info = PngInfo()
    info.add_text("verdict", raw[shown(raw)]["verdict_sha256"])
    picture(chosen).save(PICTURE, optimize=True, pnginfo=info)
    for changed in (REPORT, PICTURE, *tables.write()):
        click.echo(changed)


if __name__ == "__main__":
    main()
