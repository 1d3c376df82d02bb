"""Values that cross a boundary: tensors of a graph, and the device that a bundle is made for.

A `Target` is written in TOML (`export/targets/*.toml`), chosen by name or path, and carried in
the bundle, so that the margins of every check are declared before anything is measured.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from artoolkit.errors import RecipeError
from artoolkit.files import read_bytes, reading
from artoolkit.words import (
    BACKENDS,
    PRECISIONS,
    CudaMemory,
    FloatPrecision,
    Head,
    InputLayout,
    LabelsDtype,
    Precision,
)

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def _registered(backend: str) -> str:
    if backend not in BACKENDS:
        raise ValueError(f"expected {' or '.join(BACKENDS)}")
    return backend


# A table and no `Literal`, so that one line in `words.BACKENDS` adds a backend to every record.
BackendName = Annotated[
    str, AfterValidator(_registered), WithJsonSchema({"type": "string", "enum": list(BACKENDS)})
]
# The checks of a target that was written by the first version: it listed those that it required.
_FIRST_CHECKS = (
    "graph", "training-only parts", "plan", "memory", "latency", "outputs", "accuracy"
)  # fmt: skip


# How files may spell a key, beside the field's own name.
_OTHER_SPELLINGS = (("optimiser", "optimizer"), ("colour", "color"))


def respelled(record: type[BaseModel], values: dict[str, Any]) -> dict[str, Any]:
    """The values, each key as the record's field spells it: `optimiser` and `colours` are read."""
    found = dict(values)
    for key in values:
        for other, ours in _OTHER_SPELLINGS:
            name = str(key).replace(other, ours)
            if name != key and name in record.model_fields and name not in values:
                found[name] = found.pop(key)
    return found


class Frozen(BaseModel):
    """A record that is read from a file: immutable, finite, and every unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _respelled(cls, values: Any) -> Any:
        return respelled(cls, values) if isinstance(values, dict) else values


class TensorSpec(Frozen):
    """A named input or output with a static shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]


class RunnerSpec(Frozen):
    """Inputs and outputs of an open runner, and the settings that are really in effect."""

    backend: BackendName
    device: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    settings: dict[str, Any] = Field(default_factory=dict)


class RequestedNetwork(Frozen):
    """A network as a user names it; None and empty where nothing was said.

    `name` is a built-in one or `package.module:factory`, `layout` one of `words.LAYOUTS`, and
    `options` are those of `networks.build`. `take` is the key of the weights to take from a file
    that holds several sets, such as "model" beside "ema".
    """

    name: str | None = None
    layout: str | None = None
    take: str | None = None
    options: dict[str, Any] = Field(default_factory=dict)


NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Points = Annotated[float, Field(ge=0, le=100)]


class Margins(Frozen):
    """Bounds within which two results count as equal, declared before measuring.

    `scores_atol` is of scores whose spread is 1 or less, see `scores_allowed`.
    """

    latency_percent: float = Field(default=2.0, gt=0, le=100)
    accuracy_points: float = Field(default=0.5, gt=0, le=100)
    # bf16 keeps 8 bits of a number, fp16 11: 2^3 times its tolerance.
    scores_atol: dict[Precision, NotNegative] = {
        "fp32": 1e-3, "tf32": 5e-2, "bf16": 0.4, "fp16": 5e-2, "int8": 5.0
    }  # fmt: skip
    label_agreement: dict[Precision, Share] = {
        "fp32": 0.9999, "tf32": 0.999, "bf16": 0.995, "fp16": 0.999, "int8": 0.97
    }  # fmt: skip
    exported_points: dict[Precision, Points] = {
        "fp32": 0.05, "tf32": 0.1, "bf16": 0.1, "fp16": 0.1, "int8": 0.5
    }  # fmt: skip

    def scores_allowed(self, precision: Precision, spread: float | None) -> float:
        """How far two scores may lie apart, where the highest is `spread` above the lowest.

        Rounding grows with the scores, and published networks have some of several hundred: a
        bound that stays behind refuses networks whose labels agree. The labels decide.
        """
        return self.scores_atol[precision] * max(1.0, spread or 0.0)


class SessionOptions(Frozen):
    """Settings of ONNX Runtime on a CPU; the defaults are its own.

    `threads` of one operator (None: every core this process may use); `spinning`: whether they
    wait for work by asking instead of sleeping; `cpu_arena`: whether freed memory is kept for the
    next run; `memory_pattern`: whether one run plans the memory of the next.
    """

    threads: int | None = Field(default=None, ge=1)
    spinning: bool = True
    cpu_arena: bool = True
    memory_pattern: bool = True


# In pixels; 16,384 is more than any camera has, and a typing error asks for terabytes.
Side = Annotated[int, Field(ge=1, le=16_384)]


class Target(Frozen):
    """The one device, size and form that a bundle is made for.

    `imgsz` is height and width of the input in pixels; `output_size` that of the label map (the
    input's by default). `layout` is what the graph takes: camera pixels, or the same values (0 to
    255, RGB) as float32 N x 3 x H x W; `labels_dtype` is what it gives. `head` is that of its
    engines: "argmax" as in the bundle's graph, or "chain" (the same unrolled, one kernel in
    TensorRT); no other backend reads it. `optional` names the checks that are shown and decide
    nothing; all others are required. `session` is how ONNX Runtime computes there, written by hand
    or measured by `artoolkit export --tune-session`; `threads` goes before its own. `cuda_memory`
    is what gives TensorRT's engines their memory and streams.
    `compute_capabilities` are written as in SM86; `tensorrt` and `tensorrt_rtx` are version ranges
    (">=10.3,<12"); `precisions` are those the device can run, `float_precision` is what computes
    between the layers that int8 quantises, `memory_gib` what the device has.
    """

    name: str
    description: str = ""
    imgsz: tuple[Side, Side]
    output_size: tuple[Side, Side] | None = None
    batch: int = Field(default=1, ge=1, le=1024)
    precision: Precision = "fp32"
    precisions: tuple[Precision, ...] = PRECISIONS
    float_precision: FloatPrecision = "fp32"
    layout: InputLayout = "nhwc_uint8"
    labels_dtype: LabelsDtype = "uint8"
    head: Head = "argmax"
    backend: BackendName = "onnxruntime"
    device: str = "cpu"
    opset: int = Field(default=20, ge=17, le=20)
    threads: int | None = Field(default=None, ge=1)
    cuda_memory: CudaMemory = "cuda-bindings"
    session: SessionOptions = SessionOptions()
    compute_capabilities: tuple[str, ...] = ()
    tensorrt: str | None = None
    tensorrt_rtx: str | None = None
    memory_gib: float | None = Field(default=None, gt=0)
    margins: Margins = Margins()
    optional: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _first_version(cls, values: Any) -> Any:
        """`required` of a target or bundle of the first version, as `optional`."""
        required = values.get("required") if isinstance(values, dict) else None
        if not isinstance(required, (list, tuple)) or any(
            name not in _FIRST_CHECKS for name in required
        ):
            return values
        # The plan of the first version is the program.
        left = ("program" if n == "plan" else n for n in _FIRST_CHECKS if n not in required)
        kept = {key: value for key, value in values.items() if key != "required"}
        return {"optional": tuple(left)} | kept

    @model_validator(mode="after")
    def _precision_runs(self) -> Target:
        if self.precision not in self.precisions:
            raise ValueError(f"{self.name} runs {', '.join(self.precisions)}, not {self.precision}")
        return self

    @field_validator("head", mode="before")
    @classmethod
    def _head_exists(cls, head: Any) -> Any:
        # Written by earlier versions; equal cost cannot be proved where the time follows the image.
        if head == "sparse":
            raise ValueError("is no head any more: export again")
        return head

    @property
    def labels_hw(self) -> tuple[int, int]:
        """Height and width of the label map that the graph returns."""
        return self.output_size or self.imgsz

    @property
    def tensors(self) -> tuple[TensorSpec, TensorSpec]:
        """Input and output of the deployed graph."""
        planar = self.layout == "nchw_float32"
        shape = (self.batch, 3, *self.imgsz) if planar else (self.batch, *self.imgsz, 3)
        image = TensorSpec(name="image", dtype="float32" if planar else "uint8", shape=shape)
        labels = TensorSpec(
            name="labels", dtype=self.labels_dtype, shape=(self.batch, *self.labels_hw)
        )
        return image, labels

    @property
    def plain(self) -> Target:
        """The same in float32, from camera pixels to bytes: what the trained network is asked."""
        plain = {"precision": "fp32", "layout": "nhwc_uint8", "labels_dtype": "uint8"}
        return self.model_copy(update=plain)

    @property
    def forms(self) -> tuple[str, ...]:
        """The forms of the graph (`artoolkit.graph.forms`) that its engines are built from."""
        return () if self.head == "argmax" else (self.head,)


def problems(error: ValidationError, model: type[BaseModel] | None = None) -> str:
    """All problems of a validated file in one line, each with the place and the value.

    With the `model` an unknown key is shown with the nearest that it knows.
    """
    return "; ".join(_problem(one, model) for one in error.errors())


def _problem(problem: ErrorDetails, model: type[BaseModel] | None) -> str:
    if not problem["loc"]:
        # Of the values together; all of them would bury what is said.
        return problem["msg"].removeprefix("Value error, ")
    *tables, last = problem["loc"]
    place = ".".join(map(str, (*tables, last)))
    if problem["type"] == "missing" and isinstance(last, int):
        return f"{'.'.join(map(str, tables))} has too few values, got {last}"
    if problem["type"] == "missing":
        return f"{place} is missing"
    if problem["type"] == "extra_forbidden":
        known = _keys(model, tables)
        near = get_close_matches(str(last), known, 1)
        if near:
            return f"{place} is unknown: did you mean {'.'.join(map(str, (*tables, near[0])))}?"
        if inside := [table for table in known if str(last) in _keys(model, (*tables, table))]:
            return f"{place} is unknown: did you mean {inside[0]}.{last}?"
        return f"{place} is unknown" + (f" (known: {', '.join(known)})" if known else "")
    said = problem["msg"]
    for found, ours in _PHRASES:
        said = re.sub(found, ours, said)
    return f"{place}: {said}, got {json.dumps(problem['input'], default=str):.80}"


# What pydantic says, as a person would; our own sentences stand behind "Value error".
_PHRASES = (
    (r"^Input should be (.*), (unable to|got a number).*", r"expected \1"),
    (r"^Input should be a valid dictionary.*", "expected a table with values of its own"),
    ("^(Value error, |Input )", ""),
    ("^should be (a valid )?", "expected "),
    ("^expected (integer|number|string|tuple|list|boolean)", r"expected a \1"),
    ("^expected (greater|less)", r"expected a value \1"),
    ("a (valid )?integer", "a whole number"),
    ("a (valid )?boolean", "true or false"),
    ("a (valid )?(tuple|list)", "a list"),
    ("a (valid )?number", "a number"),
    (r"^(Tuple|List) should have at (least|most) (\d+) items? .*, ", r"expected at \2 \3 values, "),
    (r"^String should have at least 1 character", "expected some text"),
    ("^String should match pattern ", "expected text that matches "),
)


def _keys(model: type[BaseModel] | None, tables: Sequence[int | str]) -> list[str]:
    """The keys that `model` knows in the table at `tables`; none where it is no table of ours."""
    for table in tables:
        field = None if model is None else model.model_fields.get(str(table))
        inner = None if field is None else field.annotation
        model = inner if isinstance(inner, type) and issubclass(inner, BaseModel) else None
    return [] if model is None else list(model.model_fields)


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """The tables of a TOML file, or a `RecipeError` that names the file and the place."""
    content = read_bytes(path, RecipeError, what=what)
    with reading(path, RecipeError, what=what):
        return tomllib.loads(content.decode("utf-8-sig"))


def target_from_toml(path: Path, **changes: Any) -> Target:
    """The target in `path`, with `changes` (None: unchanged) put over it."""
    values = read_toml(path, "target") | {k: v for k, v in changes.items() if v is not None}
    try:
        return Target.model_validate(values)
    except ValidationError as error:
        raise RecipeError(f"target {path} is not valid: {problems(error, Target)}") from error
