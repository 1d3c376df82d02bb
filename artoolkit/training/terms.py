"""The loss of a run: what a recipe and a network say of its terms, as one `Objective`.

A network brings cross-entropy of its auxiliary outputs (`aux_weights`) and further terms (`terms`);
a recipe replaces their values and adds terms, all by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from artoolkit.errors import RecipeError
from artoolkit.losses import Objective, WeightedTerm
from artoolkit.losses.terms import AFFINITY, CROSS_ENTROPY
from artoolkit.networks import Network
from artoolkit.training.history import ROW_FIELDS
from artoolkit.training.recipe import LossTerms, Recipe


def build_objective(
    recipe: Recipe, network: Network, class_weights: Sequence[float] | None = None
) -> Objective:
    """The recipe's loss terms for this network; `RecipeError` with every one that does not fit.

    `class_weights` are those of the data, where the recipe names a rule for them.
    """
    loss, terms, mistakes = recipe.loss, {}, []
    if isinstance(loss.class_weights, tuple):
        class_weights = loss.class_weights
    outputs = set(network.outputs)
    for name, values in term_values(loss, network).items():
        try:
            term = WeightedTerm(**{"kind": name, **values})
        except ValueError as error:
            mistakes.append(f"loss.terms.{name}: {error}")
            continue
        if name in ROW_FIELDS:
            mistakes.append(f"loss.terms.{name}: the name is taken by a column of the metrics")
        if unknown := sorted({term.output, *term.term.others} - outputs):
            mistakes.append(
                f"loss.terms.{name}: {network.name} has no output {', '.join(unknown)}; "
                f"expected one of {', '.join(sorted(outputs))}"
            )
        terms[name] = term
    if class_weights is not None and len(class_weights) != network.num_classes:
        mistakes.append(
            f"loss.class_weights needs one weight per class: got {len(class_weights)}; "
            f"expected {network.num_classes}"
        )
    if mistakes:
        raise RecipeError(f"the loss does not fit {network.name}: {'; '.join(mistakes)}")
    return Objective(
        terms,
        align_corners=network.align_corners,
        class_weights=class_weights,
        boundary_weight=loss.boundary_weight,
        label_smoothing=loss.label_smoothing,
    )


def term_values(loss: LossTerms, network: Network) -> dict[str, dict[str, Any]]:
    """Values of every term by name: the network's, with the recipe's over them."""
    aux_weights = network.aux_weights if loss.aux_weights is None else loss.aux_weights
    terms: dict[str, dict[str, Any]] = {CROSS_ENTROPY: {}}
    for name, weight in aux_weights.items():
        terms[name] = {"kind": CROSS_ENTROPY, "output": name, "weight": weight}
    terms |= {name: _merged(terms.get(name, {}), values) for name, values in network.terms.items()}
    points = {"points": asdict(loss.points)}
    terms[AFFINITY] = {"weight": loss.ar_weight, "monitor": loss.ar_monitor, "options": points}
    for name, choice in loss.terms.items():
        terms[name] = _merged(terms.get(name, {}), choice.model_dump(exclude_none=True))
    if loss.ohem is not None:
        hard = {"ohem": loss.ohem.model_dump()}
        for name, values in terms.items():
            if values.get("kind", name) == CROSS_ENTROPY:
                values["options"] = {**hard, **values.get("options", {})}
    return terms


def _merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The tables with `changes` over them, key by key."""
    merged = {**values, **changes}
    for key in values.keys() & changes.keys():
        if isinstance(values[key], Mapping) and isinstance(changes[key], Mapping):
            merged[key] = _merged(values[key], changes[key])
    return merged
