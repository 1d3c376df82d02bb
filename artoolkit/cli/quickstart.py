"""`artoolkit quickstart`: the whole journey on generated streets, as a user would type it."""

from __future__ import annotations

import contextlib
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from artoolkit.cli.options import out_option
from artoolkit.cli.talk import json_option
from artoolkit.errors import ArtoolkitError, DataError

if TYPE_CHECKING:
    from artoolkit.evidence.verdict import Verdict

# Small enough for minutes, large enough to see what the loss changes.
IMGSZ = ("128", "256")
# It comes with artoolkit (benchmarks/street_baseline.py).
BASELINE = "icnet-streets"
EPOCHS = "5"
# 0 pass, 1 fail, 3 undecided: each is a verdict, and quickstart's job is to reach one.
VERDICTS = (0, 1, 3)


class StepError(ArtoolkitError):
    """A step of quickstart stopped; its own message stands above."""


@dataclass(frozen=True)
class Step:
    """One command of the journey; `run` is the folder of a training run, which can be resumed."""

    name: str
    why: str
    arguments: tuple[str, ...]
    run: Path | None = None
    good: tuple[int, ...] = (0,)


def journey(out: Path) -> list[Step]:
    """Data, fine-tuning with AR and as control, bundle with verdict, predictions, report."""
    data, bundle = out / "data", out / "bundle"
    streets = ("--dataset", "cityscapes", "--data-root", str(data))
    runs = {name: out / "runs" / name for name in ("ar", "control")}

    def training(name: str, why: str, *arguments: str) -> Step:
        command = ("finetune", "--baseline", BASELINE, *streets, "--epochs", EPOCHS, *arguments)
        return Step(name, why, (*command, "--out", str(runs[name])), run=runs[name])

    synthesize = ("data", "synthesize", str(data), "--train", "320", "--val", "240")
    export = ("export", str(runs["ar"] / "model.safetensors"), "--baseline", BASELINE, *streets)
    return [
        Step("data", "Generate street scenes", (*synthesize, "--imgsz", *IMGSZ)),
        training("ar", "Fine-tune a baseline that saw other streets, with affinity regression"),
        training("control", "Fine-tune the control (same length, no AR loss)", "--control"),
        Step(
            "export",
            "Export it with its baseline, and give the verdict",
            (*export, "--imgsz", *IMGSZ, "--out", str(bundle), "--overwrite"),
            good=VERDICTS,
        ),
        Step(
            "predict",
            "Predict the validation images with the bundle",
            ("predict", str(bundle), *streets, "--out", str(out / "predictions")),
        ),
        Step(
            "report",
            "Show it all on one page",
            ("report", str(bundle), *map(str, runs.values()), *streets,
             "--out", str(out / "report.html")),
        ),
    ]  # fmt: skip


def carry_out(step: Step, finished: Path) -> None:
    """Run the step, unless the file `finished` says that an earlier quickstart did."""
    from artoolkit.cli import run

    if finished.exists():
        click.secho(f"# {step.why}: done before", dim=True)
        return
    arguments = list(step.arguments)
    if step.run is not None and (step.run / "state").is_dir():
        arguments.append("--resume")
    click.secho(f"\n# {step.why}", bold=True)
    click.echo(f"$ artoolkit {shlex.join(arguments)}")
    code = run(arguments)
    if code == 130:
        raise KeyboardInterrupt
    if code not in step.good:
        raise StepError(f"quickstart stopped: artoolkit {step.arguments[0]} ended with {code}")
    finished.parent.mkdir(parents=True, exist_ok=True)
    finished.touch()


def summarise(out: Path) -> Verdict:
    """Print the gain, the verdict with what left it undecided, and where everything is."""
    from artoolkit.evidence.bundle import open_bundle
    from artoolkit.evidence.records import read_record
    from artoolkit.evidence.verdict import Verdict

    verdict = read_record(open_bundle(out / "bundle").proofs[0] / "verdict.json", Verdict)
    before, _ = miou_of(out / "runs" / "ar")
    for name, what in (("control", "fine-tuned without the loss"), ("ar", "with it")):
        _, after = miou_of(out / "runs" / name)
        click.echo(f"{what:<28} mIoU {before:.2f} -> {after:.2f} %")
    click.secho(f"\n{verdict.result}: {verdict.meaning}", bold=True)
    for check in verdict.checks:
        if check.required and check.result == "UNDECIDED":
            why = [detail for detail in check.details if "disturbed" in detail]
            click.echo("; ".join([f"{check.name}: {check.headline}", *why, check.advice]))
    for path, what in (
        ("report.html", "all of it on one page, with images to compare"),
        ("data", "generated street scenes in the layout of Cityscapes"),
        ("runs", "ar and control: recipe, metrics.jsonl, model.safetensors"),
        ("bundle", "what goes to a device: model.onnx, manifest, golden images, baseline"),
        ("bundle/evidence", "verdict.json and the raw measurements behind it"),
        ("predictions", "label maps in Cityscapes ids, and overlays to look at"),
    ):
        click.echo(f"  {out / path!s:<28} {what}")
    click.echo(
        "Generated streets say nothing about real ones: README.md has results on CamVid.\n"
        f"Next: artoolkit verify {out / 'bundle'}, or the same commands on your own data."
    )
    return verdict


def miou_of(run: Path) -> tuple[float, float]:
    """mIoU of the baseline and of the last epoch of a run, in percent."""
    from artoolkit.files import read_json_lines
    from artoolkit.training.history import METRICS

    rows = read_json_lines(run / METRICS, DataError)
    mious = [row["mIoU"] for row in rows if "mIoU" in row]
    return mious[0], mious[-1]


@click.command()
@out_option(help_text="Folder for everything that is made.")
@json_option
def command(*, out: Path, as_json: bool) -> None:
    """End-to-end demo on synthetic streets: fine-tune, export, verdict, predict, report.

    It starts from a small baseline that comes with artoolkit, and takes minutes on two cores.
    Stopped half-way, the same command goes on. Exits 0 when it ran to the end, whatever the
    verdict.
    """
    from artoolkit.optional import require

    require("torch", "quickstart")
    require("onnxruntime", "quickstart")
    # As JSON the result stands alone on standard output.
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        for step in journey(out):
            carry_out(step, out / ".finished" / step.name)
        verdict = summarise(out)
    if as_json:
        click.echo(verdict.to_bytes().decode(), nl=False)
