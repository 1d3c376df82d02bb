"""Parts of the experiment on CamVid: splits, baselines, arms, and what followed from them.

A study is a split and a baseline, with the arms that are tried on it. `usual` is judged on the
validation images, whose drive is in the training set; `without-DRIVE` trains baseline and arms on
the other drives and is judged on every image of DRIVE, which neither has seen; `-b2` is a second
baseline from another seed on an unseen drive, for the arms that tell most.

A strong weight makes longer steps, and the first runs gained most in rare classes. So two simpler
explanations are tried from the same baselines: `-faster` trains at the baseline's own rate instead
of a fifth of it, and `-balanced` weights cross-entropy by median-frequency balancing (Eigen and
Fergus, ICCV 2015). Their controls have no AR loss. One unseen drive is asked, whose runs are the
shortest.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from artoolkit.data import open_dataset
from artoolkit.data.check import check_dataset
from artoolkit.training.recipe import load_recipe

DRIVES = ("0001TP", "0006R0", "0016E5")
SHORTEST = "0016E5"
SEEDS = (1, 2, 3, 4, 5)
FEWER_SEEDS = (1, 2, 3)
Arms = tuple[tuple[str, tuple[float, ...]], ...]
# Arms and their weights; the control has none.
FULL: Arms = (("control", (0.0,)), ("paper", (0.1,)), ("center", (20.0,)), ("all", (20.0,)))
TELLING: Arms = (("control", (0.0,)), ("center", (20.0,)))
FASTER, BALANCED = "-faster", "-balanced"


@dataclass(frozen=True)
class Study:
    """A split and a baseline, and the arms that are tried on them; `start` has the baseline."""

    name: str
    train: str
    val: str
    baseline_seed: int = 1
    arms: Arms = FULL
    seeds: tuple[int, ...] = SEEDS
    start: str = ""

    @property
    def baseline(self) -> str:
        """The study in whose folder the baseline lies."""
        return self.start or self.name

    @property
    def unseen(self) -> bool:
        """True if it is evaluated on a held-out drive."""
        return self.val.startswith("drive:")

    @property
    def variant(self) -> str:
        return self.name.removeprefix(self.baseline)

    def runs(self, seeds: Sequence[int]) -> list[tuple[str, float, int]]:
        """Arm, weight and seed of every run, seed by seed, of those `seeds` that are planned."""
        return [
            (arm, weight, seed)
            for seed in seeds
            if seed in self.seeds
            for arm, weights in self.arms
            for weight in weights
        ]

    def only(self, arms: Sequence[str]) -> Study:
        """The study with these of its arms alone."""
        return replace(self, arms=tuple(arm for arm in self.arms if arm[0] in arms))

    def changes(self, data_root: Path, recipe: str) -> tuple[str, ...]:
        """Changes of the arms to the baseline's `recipe` beside the loss, for `--set`."""
        if self.variant == FASTER:
            return (f"optimizer.lr={load_recipe(recipe).optimizer.lr}",)
        if self.variant == BALANCED:
            weights = median_frequency_weights(data_root, self.train)
            return (f"loss.class_weights=[{', '.join(f'{w:.4g}' for w in weights)}]",)
        return ()


def studies() -> tuple[Study, ...]:
    """Four splits, a second baseline on the unseen drives, and what followed."""
    first = (
        Study("usual", "train", "val"),
        *(
            Study(f"without-{drive}", f"train-without-{drive}", f"drive:{drive}")
            for drive in DRIVES
        ),
    )
    fewer = [replace(study, arms=TELLING, seeds=FEWER_SEEDS) for study in first]
    again = [replace(study, name=f"{study.name}-b2", baseline_seed=2) for study in fewer[1:]]
    followed = [
        replace(study, name=study.name + variant, start=study.name)
        for variant in (FASTER, BALANCED)
        for study in fewer
        if study.name.endswith(SHORTEST)
    ]
    return (*first, *again, *followed)


def median_frequency_weights(root: Path, split: str) -> list[float]:
    """A weight a class: the median of all frequencies over its own.

    The frequency of a class is its share of the labelled pixels of the images that show it, taken
    with the split's mean number of labelled pixels an image. A class that no image shows gets 0.
    """
    (report,) = check_dataset(open_dataset("camvid", root), splits=[split])
    pixels, images = report.class_pixels[:-1], report.class_images[:-1]
    an_image = pixels.sum() / report.labels
    shares = [p / (n * an_image) if n else None for p, n in zip(pixels, images, strict=True)]
    middle = statistics.median(share for share in shares if share is not None)
    return [float(middle / share) if share else 0.0 for share in shares]
