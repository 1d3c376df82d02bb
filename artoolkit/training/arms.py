"""Arms of an experiment, each a change of the loss or of how a baseline is fine-tuned, and runs.

An arm is one of `words.ARMS` at a weight, or of one's own: `NAME=SETTINGS`, where the settings are
`word=value` (`words.SETTINGS`) or `recipe.path=value` with blanks between.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from artoolkit.errors import UsageError
from artoolkit.training.recipe import Recipe, recipe_from_values
from artoolkit.words import ARMS, CONTROL, SETTINGS, TAUGHT

# It is a folder's name, and a cell of a table.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]*")
# What the arms of an experiment share: the images and their order, the network, the judgement.
_SHARED = ("name.", "seed.", "network.", "data.", "evaluation.", "schedule.batch_size.")


@dataclass(frozen=True)
class Run:
    """One run of an experiment: an arm at a weight (0 for the control) with a seed.

    `settings` are those of an arm of one's own, whose weight is among them.
    """

    arm: str
    ar_weight: float
    seed: int
    settings: str = ""

    @property
    def name(self) -> str:
        weight = "" if self.arm == CONTROL or self.settings else f"-{self.ar_weight:g}"
        return f"{self.arm}{weight}-seed{self.seed}"

    @property
    def key(self) -> tuple[str, float, int]:
        """Names of a row that it has, too."""
        return self.arm, self.ar_weight, self.seed

    def recipe(self, common: Recipe, *, stride: int | None = None) -> Recipe:
        """`common` with this run's seed and loss; `stride` is for the grid `all`."""
        loss: dict[str, Any] = {"loss.ar_weight": self.ar_weight}
        if self.arm in ARMS and self.arm != CONTROL:
            loss["loss.ar_grid"] = self.arm
            loss["loss.ar_stride"] = stride if self.arm == "all" else None
        return recipe_from_values(
            common.model_dump(mode="json", exclude_none=True),
            f"the recipe of {self.name}",
            assignments=assignments(self.settings),
            changes={"name": f"{common.name}-{self.name}", "seed": self.seed, **loss},
        )


def assignments(settings: str) -> list[str]:
    """Settings as text -> `path=value` for `load_recipe`; `UsageError` for what is none."""
    found = []
    for setting in shlex.split(settings):
        word, equals, value = setting.partition("=")
        paths = (word,) if "." in word else SETTINGS.get(word, ())
        if not equals or not paths:
            raise UsageError(
                "--arm has a setting that is none",
                got=setting,
                expected=f"{', '.join(SETTINGS)} or a recipe's path, each with =VALUE",
            )
        if shared := [path for path in paths if f"{path}.".startswith(_SHARED)]:
            raise UsageError(
                "an arm cannot change what all arms share", got=shared[0],
                hint="Give it with --set, for all of them.",
            )  # fmt: skip
        found += [f"{path}={value}" for path in paths]
    return found


def named_arm(text: str) -> tuple[str, float, str]:
    """NAME=SETTINGS -> name, weight of affinity regression, settings; or a `UsageError`."""
    name, _, settings = text.partition("=")
    if not _NAME.fullmatch(name) or name in ARMS or not settings.strip():
        raise UsageError(
            "--arm is no arm of one's own", got=text,
            expected=f"NAME=SETTINGS, with a name that is not {', '.join(ARMS)}",
            hint="For example --arm 'weights=class-weights=median-frequency'.",
        )  # fmt: skip
    given = dict(one.split("=", 1) for one in assignments(settings))
    try:
        weight = float(given.get("loss.ar_weight", 0.0))
    except ValueError:
        raise UsageError(f"the ar-weight of --arm {name} is no number", got=text) from None
    return name, weight, settings.strip()


def planned_runs(
    arms: Sequence[str],
    weights: Sequence[float],
    seeds: Sequence[int],
    named: Sequence[str] = (),
) -> tuple[Run, ...]:
    """Every arm at every weight (the control once) and every `named` one with every seed.

    Seed by seed, the control first. Raises `UsageError` for a weight that is not above 0, for a
    name that stands for two arms, and as `named_arm` does.
    """
    if wrong := [weight for weight in weights if not weight > 0]:
        raise UsageError("--ar-weight must be above 0", got=f"{wrong[0]:g}",
                         hint="The weight 0 is the arm control.")  # fmt: skip
    chosen = sorted(dict.fromkeys(arms), key=lambda arm: arm != CONTROL)
    once = [
        (arm, weight, "")
        for arm in chosen
        for weight in ((0.0,) if arm == CONTROL else tuple(dict.fromkeys(weights)))
    ]
    own = [named_arm(text) for text in dict.fromkeys(named)]
    if len({name for name, _, _ in own}) < len(own):
        raise UsageError("--arm gives one name to two arms", got="; ".join(named))
    return tuple(
        Run(arm, weight, seed, settings)
        for seed in seeds
        for arm, weight, settings in (*once, *own)
    )


def common_recipe(recipe: Recipe) -> Recipe:
    """`recipe` as the arms share it, evaluated after the last epoch only.

    Without affinity regression and without what needs a teacher: those are the arms' own.
    """
    terms = {
        name: choice
        for name, choice in recipe.loss.terms.items()
        if (choice.kind or name) not in TAUGHT
    }
    loss = recipe.loss.model_copy(
        update={"ar_weight": 0.0, "ar_grid": "center", "ar_stride": None, "terms": terms}
    )
    evaluation = recipe.evaluation.model_copy(update={"every": recipe.schedule.epochs})
    return recipe.model_copy(update={"loss": loss, "evaluation": evaluation})
