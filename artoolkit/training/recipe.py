"""Recipe: everything that decides a training run, as a TOML file and as a frozen record.

A recipe is chosen by name (the files in `recipes/`) or by path, and any value can be replaced by
`path=value`, for example `optimizer.lr=0.01`. All mistakes are reported at once. The effective
recipe is stored in the run's folder and in the checkpoint; it holds no path of a machine.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import tomlkit
from pydantic import Field, ValidationError, field_validator, model_validator

from artoolkit.errors import RecipeError
from artoolkit.losses.points import Points
from artoolkit.spec import Frozen, problems, read_toml, respelled
from artoolkit.words import NO_BALANCING, Balancing, Grid

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Positive = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
Side = Annotated[int, Field(ge=1)]
SizeHW = tuple[Side, Side]


class NetworkChoice(Frozen):
    """Choice of network, published layout and options of `networks.build`."""

    name: str = "icnet"
    layout: str | None = None
    options: dict[str, Any] = Field(default_factory=dict)


class Selection(Frozen):
    """Samples of some splits whose names match one of `names` (shell patterns)."""

    splits: tuple[str, ...] = Field(min_length=1)
    names: tuple[str, ...] = Field(default=("*",), min_length=1)


class DataChoice(Frozen):
    """Images to train on, and those to evaluate.

    With `cache`, decoded images are kept on disk (`training.decoded` says where) and mapped from
    there: 4 bytes a pixel, for disks that are quicker than decoding. The result is the same.
    """

    dataset: str | None = None
    cache: bool = False
    train: Selection = Selection(splits=("train",))
    val: Selection = Selection(splits=("val",))


class Augmentation(Frozen):
    """Random changes of a training image. Sizes in pixels, height before width.

    `brightness`, `contrast` and `saturation` are the largest relative change (0.3: factors from
    0.7 to 1.3); `flip` and `blur` are probabilities.
    """

    crop: SizeHW
    scale: tuple[Positive, Positive] = (1.0, 1.0)
    rotate_degrees: float = Field(default=0.0, ge=0, le=180)
    flip: float = Field(default=0.5, ge=0, le=1)
    brightness: float = Field(default=0.0, ge=0, lt=1)
    contrast: float = Field(default=0.0, ge=0, lt=1)
    saturation: float = Field(default=0.0, ge=0, lt=1)
    blur: float = Field(default=0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _ascending(self) -> Augmentation:
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale {self.scale} must ascend")
        return self


class Schedule(Frozen):
    """Length of the run, size of the batches, and decay of the learning rate.

    `batch_size` is the effective one, over all processes. `poly`: (1 - t / T)^power per
    iteration, from the whole rate to the share `end_factor` of it; `steps`: times `factor` at each
    epoch of `milestones`. The warm-up rises from the share `start_factor`.
    """

    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    policy: Literal["poly", "steps", "constant"] = "poly"
    power: float = Field(default=0.9, gt=0)
    milestones: tuple[Annotated[int, Field(ge=1)], ...] = ()
    factor: float = Field(default=0.5, gt=0, lt=1)
    warmup_iterations: int = Field(default=0, ge=0)
    start_factor: float = Field(default=0.0, ge=0, le=1)
    end_factor: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _ascending(self) -> Schedule:
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"milestones {self.milestones} must ascend")
        if (self.policy == "steps") != bool(self.milestones):
            raise ValueError("milestones and the policy 'steps' belong together")
        return self


class Optimizer(Frozen):
    """SGD or AdamW. The multipliers scale the rate of the network's encoder and of all else.

    `momentum` is AdamW's first beta; its second is 0.999.

    `freeze_bn` keeps the running statistics of batch normalisation as they are (its weights still
    learn); `decay_norms` puts weight decay on its weights and on biases too. The evaluated and
    saved weights are with `ema_decay` the exponential moving average, with `average_epochs` the
    mean of those at the end of each of the last epochs, that many (Izmailov et al., UAI 2018).
    """

    algorithm: Literal["sgd", "adamw"] = "sgd"
    lr: float = Field(gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float = Field(default=1e-4, ge=0)
    encoder_multiplier: float = Field(default=1.0, ge=0)
    decoder_multiplier: float = Field(default=1.0, ge=0)
    decay_norms: bool = True
    freeze_bn: bool = False
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    average_epochs: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _possible(self) -> Optimizer:
        if self.ema_decay is not None and self.average_epochs is not None:
            raise ValueError("ema_decay and average_epochs exclude each other")
        if self.nesterov and (self.momentum == 0 or self.algorithm != "sgd"):
            raise ValueError("nesterov needs a momentum above 0, and sgd")
        return self


class Ohem(Frozen):
    """Only hard pixels count: those whose own class has at most this probability."""

    threshold: float = Field(default=0.7, gt=0, le=1)
    min_kept: int = Field(default=100_000, ge=1)


class TermChoice(Frozen):
    """Values of one term; what is left out is the network's or the term's own.

    `kind` is a name in `losses.TERMS` (the term's own name by default), `output` the output of the
    network that it is taken of. At `weight` 0 a term is left out, unless `monitor` asks for its
    value. `options` are the keywords of the term's function.
    """

    kind: str | None = None
    output: str | None = None
    weight: Weight | None = None
    monitor: bool | None = None
    options: dict[str, Any] | None = None


class LossTerms(Frozen):
    """The terms beside cross-entropy. `ar_weight` 0 is the control arm.

    `ar_grid`, `ar_sizes` and `ar_stride` are those of `losses.Points`;
    `aux_weights` replaces the network's own weights of its auxiliary outputs; with `ar_monitor`
    the value of affinity regression is recorded at weight 0 too. `terms` changes any term by its
    name, and adds others.

    The rest holds for the cross-entropy of every output. `class_weights` are numbers, or the name
    of a rule by which they are computed from the training labels (`training.class_weights`); a
    pixel near a border counts `boundary_weight` times; the share `label_smoothing` of a label is
    spread over all classes.
    """

    ar_weight: float = Field(default=0.0, ge=0)
    ar_grid: Grid = "center"
    ar_sizes: tuple[Side, ...] = Field(default=(12, 6), min_length=1)
    ar_stride: Side | None = None
    ar_monitor: bool = False
    aux_weights: dict[str, Weight] | None = None
    class_weights: Annotated[tuple[Weight, ...], Field(min_length=1)] | Balancing | None = None
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    boundary_weight: Positive = 1.0
    ohem: Ohem | None = None
    terms: dict[str, TermChoice] = Field(default_factory=dict)

    @property
    def points(self) -> Points:
        """The points of affinity regression; `ValueError` for values that name none."""
        return Points(grid=self.ar_grid, sizes=self.ar_sizes, stride=self.ar_stride)

    @model_validator(mode="after")
    def _possible(self) -> LossTerms:
        _ = self.points
        if isinstance(self.class_weights, tuple) and not any(self.class_weights):
            raise ValueError("class_weights are all 0")
        return self

    @field_validator("class_weights", mode="before")
    @classmethod
    def _none_by_name(cls, value: Any) -> Any:
        return None if value == NO_BALANCING else value


class Evaluation(Frozen):
    """Every how many epochs, and at what input size (the label's own by default).

    `max_drop`: points of mIoU that a run may fall below its baseline before it stops; 100: any. A
    fitting rate costs a few points in the first epochs; a wrong rate or input convention costs most
    of them, so 20 tells the two apart.
    """

    every: int = Field(default=1, ge=1)
    imgsz: SizeHW | None = None
    max_drop: float = Field(default=20.0, gt=0, le=100)


class Execution(Frozen):
    """Arithmetic of the run: the autocast precision and the memory layout.

    `auto` is settled when a run starts: the half precision that the device computes natively, or
    fp32 on a CPU without one (bf16 is emulated there, at half the speed).
    """

    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    channels_last: bool = True


class Recipe(Frozen):
    """Everything that decides a training run."""

    name: str = Field(min_length=1)
    description: str = ""
    seed: int = Field(default=1, ge=0)
    network: NetworkChoice = NetworkChoice()
    data: DataChoice = DataChoice()
    augmentation: Augmentation
    schedule: Schedule
    optimizer: Optimizer
    loss: LossTerms = LossTerms()
    evaluation: Evaluation = Evaluation()
    execution: Execution = Execution()


def recipe_names() -> tuple[str, ...]:
    """Names of the recipes that come with artoolkit."""
    folder = resources.files("artoolkit.training") / "recipes"
    return tuple(sorted(f.name[:-5] for f in folder.iterdir() if f.name.endswith(".toml")))


def load_recipe(
    source: Recipe | Path | str,
    *,
    assignments: Sequence[str] = (),
    changes: Mapping[str, Any] | None = None,
) -> Recipe:
    """The recipe `source`, a name or a TOML file or open already, with values replaced.

    `assignments` are `path=value` strings, the value in TOML or a bare word; `changes` maps paths
    to values, None meaning unchanged. Raises `RecipeError` with every mistake.
    """
    if isinstance(source, Recipe):
        values: Mapping[str, Any] = source.model_dump(mode="json", exclude_none=True)
        source = source.name
    elif source in recipe_names():
        with resources.as_file(resources.files("artoolkit.training") / "recipes") as folder:
            values = read_toml(folder / f"{source}.toml", "recipe")
    elif Path(source).suffix == ".toml" or "/" in str(source):
        values = read_toml(Path(source), "recipe")
    else:
        raise RecipeError.unknown(
            "recipe", str(source), recipe_names(), hint="Or give the path of a .toml file."
        )
    return recipe_from_values(
        values, f"recipe {source}", assignments=assignments, changes=changes or {}
    )


def recipe_from_values(
    values: Mapping[str, Any],
    what: str,
    *,
    assignments: Sequence[str] = (),
    changes: Mapping[str, Any] | None = None,
) -> Recipe:
    """The recipe in nested `values`, with values replaced as in `load_recipe`.

    `what` names the source in the `RecipeError` that lists every mistake.
    """
    merged: dict[str, Any] = respelled(Recipe, json.loads(json.dumps(values)))
    mistakes: list[str] = []
    pairs = [_parse_assignment(text, mistakes) for text in assignments]
    for path, value in [*((changes or {}).items()), *filter(None, pairs)]:
        if value is not None:
            # Before it is put beside the value that it replaces.
            table, *rest = path.split(".")
            _put(merged, ".".join([*respelled(Recipe, {table: None}), *rest]), value, mistakes)
    try:
        recipe = Recipe.model_validate(merged)
    except ValidationError as error:
        mistakes.append(problems(error, Recipe))
    if mistakes:
        raise RecipeError(f"{what} is not valid: {'; '.join(mistakes)}")
    return recipe


def _parse_assignment(text: str, mistakes: list[str]) -> tuple[str, Any] | None:
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        mistakes.append(f"{text!r} is not path=value")
        return None
    try:
        return path.strip(), tomllib.loads(f"v = {value}")["v"]
    except tomllib.TOMLDecodeError:
        return path.strip(), value.strip()


def _put(values: dict[str, Any], path: str, value: Any, mistakes: list[str]) -> None:
    *tables, key = path.split(".")
    for name in tables:
        inner = values.setdefault(name, {})
        if not isinstance(inner, dict):
            mistakes.append(f"{path}: {name} is a value, not a table")
            return
        values = inner
    values[key] = value


def differences(stored: Recipe, asked: Recipe) -> list[str]:
    """Differences of `asked` from `stored`, one phrase per value; `auto` asks for nothing."""
    have, want = (_flat(recipe.model_dump(mode="json"), "") for recipe in (stored, asked))
    return [
        f"{path} {_said(have.get(path))} instead of {_said(want.get(path))}"
        for path in sorted(have | want)
        if have.get(path) != want.get(path) and want.get(path) != "auto"
    ]


def _flat(table: dict[str, Any], prefix: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _said(value: Any) -> str:
    return "nothing" if value is None else json.dumps(value)


def toml_from_recipe(recipe: Recipe) -> str:
    """The recipe as TOML text that `load_recipe` reads back to an equal recipe."""
    return tomlkit.dumps(recipe.model_dump(mode="json", exclude_none=True))
