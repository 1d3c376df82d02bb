"""The baseline that comes with artoolkit and `artoolkit quickstart` starts from, by one command.

    python benchmarks/street_baseline.py runs/streets

Generates streets of another seed than quickstart's, trains the recipe `quickstart` on one thread,
and writes the checkpoint to artoolkit/networks/models/, with its sha256 and mIoU in sources.toml.
The checkpoint holds recipe, command and data. Stopped, the same command goes on.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import click
from camvid import rows_of

from artoolkit.cli.quickstart import IMGSZ, Step, carry_out
from artoolkit.evidence.seal import file_sha256
from artoolkit.networks import sources
from artoolkit.networks.sources import source_named

# Those of quickstart have seed 0: nothing that the baseline saw is fine-tuned on or judged.
STREETS = ("--train", "480", "--val", "64", "--seed", "1")


def steps(folder: Path) -> list[Step]:
    """The two commands, everything in `folder`."""
    data, run = folder / "data", folder / "run"
    training = ("train", "--recipe", "quickstart", "--dataset", "cityscapes", "--workers", "0")
    return [
        Step("data", "Generate", ("data", "synthesize", str(data), *STREETS, "--imgsz", *IMGSZ)),
        Step("train", "Train", (*training, "--data-root", str(data), "--out", str(run)), run=run),
    ]


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
def main(*, folder: Path) -> None:
    """Train the baseline in FOLDER, and put it where it is shipped from."""
    for step in steps(folder):
        carry_out(step, folder / ".finished" / step.name)
    source, table = source_named("icnet-streets"), Path(sources.__file__).with_suffix(".toml")
    shutil.copy(folder / "run" / "model.safetensors", source.packaged())
    *others, ours = re.split(r"(?=\[\[source\]\])", table.read_text())
    miou = rows_of(folder / "run")[-1]["mIoU"]
    ours = re.sub(r'hash = ".*"', f'hash = "{file_sha256(source.packaged())}"', ours)
    table.write_text("".join(others) + re.sub(r"miou = .*", f"miou = {miou:.2f}", ours))
    click.echo(f"{source.packaged()}: {source.packaged().stat().st_size} bytes, mIoU {miou:.2f} %")


if __name__ == "__main__":
    main()
