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
from artoolkit.errors import ArtoolkitError

if TYPE_CHECKING:
    from artoolkit.evidence.verdict import Verdict

IMGSZ = ("192", "384")
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
    """Data, baseline, fine-tuning with AR and as control, bundle with verdict, predictions."""
    data, bundle = out / "data", out / "bundle"
    streets = ("--dataset", "cityscapes", "--data-root", str(data))
    runs = {name: out / "runs" / name for name in ("baseline", "ar", "control")}
    checkpoints = {name: str(run / "model.safetensors") for name, run in runs.items()}

    def training(name: str, why: str, *arguments: str) -> Step:
        return Step(name, why, (*arguments, *streets, "--out", str(runs[name])), run=runs[name])

    finetune = (
        "finetune",
        "--baseline",
        checkpoints["baseline"],
        "--recipe",
        "quickstart-finetune",
    )
    synthesize = ("data", "synthesize", str(data), "--train", "48", "--val", "16")
    export = ("export", checkpoints["ar"], "--baseline", checkpoints["baseline"], *streets)
    return [
        Step("data", "Generate street scenes", (*synthesize, "--imgsz", *IMGSZ)),
        training("baseline", "Train the baseline", "train", "--recipe", "quickstart"),
        training("ar", "Fine-tune it with the affinity-regression loss", *finetune),
        training(
            "control", "Fine-tune the control (same length, no AR loss)", *finetune, "--control"
        ),
        Step(
            "export",
            "Export it with its baseline, and give the verdict",
            (*export, "--imgsz", *IMGSZ, "--budget-s", "30", "--out", str(bundle), "--overwrite"),
            good=VERDICTS,
        ),
        Step(
            "predict",
            "Predict the validation images with the bundle",
            ("predict", str(bundle), *streets, "--out", str(out / "predictions")),
        ),
    ]


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
    """Print where everything is, and the meaning of the verdict, which is returned."""
    from artoolkit.evidence.bundle import open_bundle
    from artoolkit.evidence.records import read_record
    from artoolkit.evidence.verdict import Verdict

    verdict = read_record(open_bundle(out / "bundle").proofs[0] / "verdict.json", Verdict)
    click.secho(f"\n{verdict.result}: {verdict.meaning}", bold=True)
    for path, what in (
        ("data", "generated street scenes in the layout of Cityscapes"),
        ("runs", "baseline, ar and control: recipe, metrics.jsonl, model.safetensors"),
        ("bundle", "what goes to a device: model.onnx, manifest, golden images, baseline"),
        ("bundle/evidence", "verdict.json and the raw measurements behind it"),
        ("predictions", "label maps in Cityscapes ids, and overlays to look at"),
    ):
        click.echo(f"  {out / path!s:<28} {what}")
    click.echo(
        "A network trained for two minutes on generated streets says nothing about real ones: "
        "this shows the journey, not a gain.\n"
        f"Next: artoolkit verify {out / 'bundle'}, or the same commands on your own data."
    )
    return verdict


@click.command()
@out_option(help_text="Folder for everything that is made.")
@json_option
def command(*, out: Path, as_json: bool) -> None:
    """End-to-end demo on synthetic streets: train, fine-tune, export, verdict, predict.

    Minutes on two cores. Stopped half-way, the same command goes on. Exits 0 when it ran to the
    end, whatever the verdict.
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
