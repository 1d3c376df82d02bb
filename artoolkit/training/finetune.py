"""The recipe of a fine-tuning: the baseline's own, at a lower rate, with affinity regression.

What is not said otherwise stays as the baseline was trained, so that a run with the AR weight 0
(the control arm) sees the same data in the same order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from artoolkit.errors import UsageError
from artoolkit.networks.checkpoint import Checkpoint
from artoolkit.training.recipe import Recipe, load_recipe, recipe_from_values, recipe_names

# 40 epochs at 0.05 become 8 at 0.01: what the trials on CamVid were fine-tuned with.
SHARE = 5


def finetune_recipe(
    baseline: Checkpoint,
    *,
    source: str | None = None,
    assignments: Sequence[str] = (),
    changes: Mapping[str, Any] | None = None,
) -> Recipe:
    """The recipe of a fine-tuning of `baseline`; `source` replaces the one stored in it.

    A fifth of the epochs and of the rate, falling as `poly`, unless `assignments` or `changes`
    (as in `load_recipe`) say otherwise. A recipe given as `source` is taken as it stands; where
    the baseline holds none (imported weights), its network stands in for the recipe's. Raises
    `UsageError` if there is neither.
    """
    if source is not None:
        own = {} if baseline.meta.recipe else _network_of(baseline)
        return load_recipe(source, assignments=assignments, changes=own | dict(changes or {}))
    origin = str(baseline.path or "the baseline")
    if not baseline.meta.recipe:
        raise UsageError(
            f"{origin} holds no recipe",
            hint=f"Give one with --recipe: {', '.join(recipe_names())}, or a path.",
        )
    stored = recipe_from_values(baseline.meta.recipe, f"the recipe in {origin}")
    tuned = {
        "name": f"{stored.name}-finetune",
        "description": f"Fine-tuned from {stored.name}",
        "schedule.epochs": max(1, round(stored.schedule.epochs / SHARE)),
        "schedule.policy": "poly",
        "schedule.milestones": [],
        "schedule.warmup_iterations": 0,
        "optimiser.lr": stored.optimiser.lr / SHARE,
    }
    given = {path: value for path, value in (changes or {}).items() if value is not None}
    return recipe_from_values(
        stored.model_dump(mode="json", exclude_none=True),
        f"the recipe in {origin} for fine-tuning",
        assignments=assignments,
        changes=tuned | given,
    )


def _network_of(baseline: Checkpoint) -> dict[str, Any]:
    """The tables of a recipe that imported weights decide: the network, and its input size."""
    meta = baseline.meta
    network = {"name": meta.network, "layout": meta.layout, "options": meta.options}
    size = None if meta.imgsz is None else list(meta.imgsz)
    return {"network": network, "evaluation.imgsz": size}
