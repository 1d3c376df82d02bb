"""Makes docs/quickstart.png from a finished quickstart: image, labels, baseline, fine-tuned.

python benchmarks/picture.py demo
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from artoolkit.backends import open_runner
from artoolkit.data import open_dataset
from artoolkit.data.image_files import write_png
from artoolkit.evidence.bundle import Bundle, open_bundle
from artoolkit.preprocess import fit_image
from artoolkit.report.overlay import overlay

OUT = Path(__file__).parent.parent / "docs" / "quickstart.png"
ROWS = (2, 4, 13)


def predicted(bundle: Bundle, image: np.ndarray) -> np.ndarray:
    """uint8 train ids of the bundle's network at its own size."""
    with open_runner(bundle) as runner:
        return np.asarray(
            runner.infer(fit_image(image, bundle.manifest.target.imgsz)[None])["labels"][0]
        )


@click.command()
@click.argument("demo", type=click.Path(path_type=Path, exists=True))
def main(*, demo: Path) -> None:
    """A row a street: the image, its labels, what the baseline says, what the candidate says."""
    data, bundle = open_dataset("cityscapes", demo / "data"), open_bundle(demo / "bundle")
    assert bundle.baseline is not None, "quickstart exports with a baseline"
    samples = data.samples("val")
    rows = []
    for index in ROWS:
        image, labels = data.read_image(samples[index]), data.read_label(samples[index])
        maps = (labels, predicted(bundle.baseline, image), predicted(bundle, image))
        rows.append(
            np.hstack([image, *(overlay(image, m, data.labels, opacity=0.7) for m in maps)])
        )
    write_png(np.vstack(rows), OUT)
    click.echo(OUT)


if __name__ == "__main__":
    main()
