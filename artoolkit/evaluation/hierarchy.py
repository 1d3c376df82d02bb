"""Interval of a gain on new streets: over drives, baselines within them, and seeds within these.

Runs of one drive resemble each other, and so do those from one baseline: counted as independent,
they would make an interval that is about these drives alone. Read `hierarchical_interval`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from artoolkit.spec import Frozen
from artoolkit.statistics import Interval, student_quantile

# Drive -> baseline -> the paired difference of each seed.
Differences = Mapping[str, Mapping[str, Sequence[float]]]
# Beyond some thousands the limits move by less than a hundredth of their distance.
RESAMPLES = 4000


class Gain(Frozen):
    """A mean gain and how far it reaches: `interval` is about `about`, from so many units of it."""

    interval: Interval
    about: str
    drives: int
    baselines: int
    runs: int


def gain(differences: Differences, *, level: float = 0.95) -> Gain | None:
    """The gain over the highest level of which there are two units; None where there is none.

    About "new drives" with two drives or more, "new baselines" of the one drive, or "new seeds" of
    the one baseline.
    """
    tree = {d: {b: list(s) for b, s in bs.items() if len(s)} for d, bs in differences.items()}
    tree = {drive: baselines for drive, baselines in tree.items() if baselines}
    counts = [len(b) for b in tree.values()]
    runs = sum(len(seeds) for baselines in tree.values() for seeds in baselines.values())
    about, units = "new drives", tree
    if len(tree) == 1:
        (baselines,) = tree.values()
        about, units = "new baselines", {b: {b: s} for b, s in baselines.items()}
        if len(baselines) == 1:
            (seeds,) = baselines.values()
            about, units = "new seeds", {str(i): {"": [s]} for i, s in enumerate(seeds)}
    if len(units) < 2:
        return None
    interval = hierarchical_interval(units, level=level)
    return Gain(interval=interval, about=about, drives=len(tree), baselines=sum(counts), runs=runs)


def hierarchical_interval(
    differences: Differences, *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Mean over drives of the mean over baselines of the mean over seeds, and its interval.

    A bootstrap at all three levels with replacement: drives, the baselines of each, the seeds of
    each. Its percentiles are of the wrong width for a few drives: it leaves out that k drives have
    k - 1 degrees of freedom, and counts the lower levels twice, as the means of the drives vary
    with them already. So its distribution gives the shape alone; it takes the standard error of
    those means and the width of Student's t, and never less than that: in a balanced design with
    normal errors this is the interval of the mixed model. `ValueError` for fewer than two drives,
    an empty one, or values that are not finite.
    """
    drives = [list(baselines.values()) for baselines in differences.values()]
    if len(drives) < 2 or not all(drives) or not all(len(s) for d in drives for s in d):
        raise ValueError("an interval over drives needs two or more, none of them empty")
    values, baselines, seeds = _padded(drives)
    if not np.isfinite(values).all():
        raise ValueError(f"differences must be finite, got {values.tolist()!r:.200}")
    count = len(drives)
    of_drives = np.array([np.mean([np.mean(s) for s in d]) for d in drives])
    estimate, error = float(of_drives.mean()), float(of_drives.std(ddof=1)) / math.sqrt(count)
    means = _resampled(values, baselines, seeds, resamples, np.random.default_rng(seed))
    tails = (0.5 - level / 2, 0.5 + level / 2)
    normal = NormalDist().inv_cdf(tails[1])
    width = error * student_quantile(tails[1], count - 1) / normal
    below, above = (np.quantile(means, tails) - estimate) / max(float(means.std()), 1e-300)
    return Interval(
        estimate=estimate,
        low=estimate + width * min(float(below), -normal),
        high=estimate + width * max(float(above), normal),
        level=level,
    )


def _padded(
    drives: list[list[Sequence[float]]],
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Values by drive, baseline and seed, 0 where there is none; the number of the last two."""
    most = max(len(d) for d in drives)
    values = np.zeros((len(drives), most, max(len(s) for d in drives for s in d)))
    seeds = np.ones((len(drives), most), np.int64)
    for i, drive in enumerate(drives):
        for j, found in enumerate(drive):
            values[i, j, : len(found)], seeds[i, j] = found, len(found)
    return values, np.array([len(d) for d in drives]), seeds


def _resampled(
    values: NDArray[np.float64],
    baselines: NDArray[np.int64],
    seeds: NDArray[np.int64],
    resamples: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """The mean of each resample."""
    count, most, longest = values.shape
    drive = rng.integers(count, size=(resamples, count, 1))
    baseline = (rng.random((resamples, count, most)) * baselines[drive]).astype(np.int64)
    pick = rng.random((resamples, count, most, longest)) * seeds[drive, baseline][..., None]
    drawn = values[drive[..., None], baseline[..., None], pick.astype(np.int64)]

    def mean(found: NDArray[np.float64], valid: NDArray[np.int64]) -> NDArray[np.float64]:
        kept = np.arange(found.shape[-1]) < valid[..., None]
        result: NDArray[np.float64] = (found * kept).sum(-1) / valid
        return result

    by_baseline = mean(drawn, seeds[drive, baseline])
    result: NDArray[np.float64] = mean(by_baseline, baselines[drive[..., 0]]).mean(1)
    return result
