"""An experiment in looks: many arms with few seeds, then the seeds where they may still matter.

After each look an arm is dropped where it cannot be the best any more. Having looked at several
arms, several times, makes luck look like a gain: `look_alpha` says what is left of 5 % for one arm
at one look, so that the chance of a wrong claim about any arm at any look stays below 5 %.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from statistics import NormalDist, fmean

from artoolkit.errors import UsageError
from artoolkit.statistics import student_quantile

ALPHA = 0.05
Arm = tuple[str, float]


def check_looks(looks: Sequence[int], seeds: int) -> None:
    """`UsageError` unless the looks ascend from 2 seeds or more to all of them."""
    if looks and (list(looks) != sorted(set(looks)) or looks[0] < 2 or looks[-1] != seeds):
        raise UsageError(
            "--looks are numbers of seeds that ascend", got=", ".join(map(str, looks)),
            expected=f"from 2 or more up to the {seeds} of --seeds",
        )  # fmt: skip


def look_alpha(looks: Sequence[int], pairs: int, arms: int) -> float:
    """Two-sided error that one of so many `arms` may spend at the look with so many `pairs`.

    The looks share 5 % as the function of Lan and DeMets (Biometrika 70, 1983) in the shape of
    O'Brien and Fleming spends it: early looks nearly nothing, the last most. What a look spends is
    added up over the looks, and shared by the arms, by Bonferroni: no assumption on how they hang
    together. Without looks there is one.
    """
    reached = [look for look in looks if look <= pairs]
    if not looks or not reached:
        return ALPHA / max(arms, 1)
    before = _spent(reached[-2] / looks[-1]) if len(reached) > 1 else 0.0
    return (_spent(reached[-1] / looks[-1]) - before) / max(arms, 1)


def _spent(share: float) -> float:
    """Error spent once a share of all seeds, in (0, 1], was seen."""
    normal = NormalDist()
    return 2 - 2 * normal.cdf(normal.inv_cdf(1 - ALPHA / 2) / math.sqrt(share))


def contenders(differences: Mapping[Arm, Mapping[int, float]], seeds: Collection[int]) -> set[Arm]:
    """Arms that may still be the best, from each arm's difference to control by seed.

    An arm is dropped where it lies below the leader, seed by seed, by more than a one-sided 95 %
    bound of the difference, whose variance is pooled over the arms. Dropping only decides where
    seeds are spent, and makes no claim.
    """
    seen = {
        arm: {seed: value for seed, value in found.items() if seed in seeds}
        for arm, found in differences.items()
    }
    seen = {arm: found for arm, found in seen.items() if found}
    if not seen:
        return set()
    leader = max(seen, key=lambda arm: fmean(seen[arm].values()))
    behind = {
        arm: [seen[leader][seed] - value for seed, value in found.items() if seed in seen[leader]]
        for arm, found in seen.items()
        if arm != leader
    }
    degrees = sum(len(values) - 1 for values in behind.values() if values)
    if degrees < 1:
        return set(seen)
    squares = sum((v - fmean(values)) ** 2 for values in behind.values() if values for v in values)
    bound = student_quantile(1 - ALPHA, degrees) * math.sqrt(squares / degrees)
    return {leader} | {
        arm
        for arm, values in behind.items()
        if not values or fmean(values) <= bound / math.sqrt(len(values))
    }
