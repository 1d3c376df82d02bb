"""Options that several verbs share, so that they read and mean the same everywhere.

Nothing heavy is imported here: `--help` has to be instant, also where torch is missing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import click

from artoolkit.cli.names import DATASET
from artoolkit.cli.talk import level
from artoolkit.errors import UsageError
from artoolkit.words import BACKENDS, CITYSCAPES_VARIABLE, CUDA_MEMORY, DATASETS, TRACKERS

if TYPE_CHECKING:
    from artoolkit.data import DataSet

    # Generic since click 8.5 and 8.2 only.
    ParamType = click.ParamType[Any]
    Choice = click.Choice[str]
else:
    ParamType, Choice = click.ParamType, click.Choice

Command = TypeVar("Command", bound=Callable[..., Any])
Item = TypeVar("Item")


class CommaList(ParamType, Generic[Item]):
    """Several values in one option, separated by commas: `--scales 0.5,1,1.5` -> a tuple."""

    def __init__(self, kind: Callable[[str], Item], choices: tuple[Item, ...] = ()) -> None:
        self.kind, self.choices = kind, choices
        self.name = "a,b,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Item, ...]:
        if isinstance(value, tuple):
            return value
        try:
            items = tuple(self.kind(part.strip()) for part in str(value).split(",") if part.strip())
        except ValueError:
            self.fail(f"{value!r} is not a list of {self.kind.__name__} with commas", param, ctx)
        if not items:
            self.fail("at least one value is needed", param, ctx)
        unknown = [item for item in items if self.choices and item not in self.choices]
        if unknown:
            self.fail(
                f"{unknown[0]!r} is not one of {', '.join(map(str, self.choices))}", param, ctx
            )
        return items


def device_name(value: str) -> str:
    """`0` -> `cuda:0`; `cpu`, `cuda`, `cuda:1` and so on as they are (Ultralytics' words).

    The kinds are those of the backends: `tensorrt:0` is ONNX Runtime's provider on that GPU.
    """
    from artoolkit.backends import backend_named, backend_names

    name = f"cuda:{value}" if value.isdecimal() else value.lower()
    kind, _, index = name.partition(":")
    kinds = dict.fromkeys(k for one in backend_names() for k in backend_named(one).devices)
    if kind not in kinds or (":" in name and not index.isdecimal()):
        raise UsageError(
            "--device is unknown", got=repr(value), expected=f"0, cuda:0 or {', '.join(kinds)}"
        )
    return name


class BackendChoice(Choice):
    """Every backend, also one that was registered after this module was imported."""

    def __init__(self) -> None:
        super().__init__(tuple(BACKENDS))

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        self.choices = tuple(BACKENDS)
        return super().convert(value, param, ctx)


def _device(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    return None if value is None else device_name(value)


def dataset_options() -> Callable[[Command], Command]:
    """`--dataset`, `--data-root` and `--classes`; pass their values to `open_data`."""

    def decorate(command: Command) -> Command:
        for option in (
            click.option(
                "--classes",
                type=click.Path(path_type=Path, dir_okay=False),
                help="Class table of a folder data set (TOML).",
            ),
            click.option(
                "--data-root",
                type=click.Path(path_type=Path, file_okay=False),
                help=f"Folder that holds the data set; for Cityscapes also {CITYSCAPES_VARIABLE}.",
            ),
            click.option(
                "--dataset",
                type=DATASET,
                metavar="NAME",
                help=f"Data set: {', '.join(DATASETS)}.",
            ),
        ):
            command = option(command)
        return command

    return decorate


def open_data(dataset: str | None, data_root: Path | None, classes: Path | None = None) -> DataSet:
    """The data set that the options name; `UsageError` when its name or root is not known."""
    if dataset is None:
        raise UsageError("no data set", expected="--dataset NAME")
    from artoolkit.data import open_dataset

    return open_dataset(dataset, data_root, classes=classes)


def imgsz_option(
    *, help_text: str = "Image size in pixels: height width."
) -> Callable[[Command], Command]:
    """`--imgsz H W` -> `imgsz: tuple[int, int] | None`."""
    return click.option(
        "--imgsz", nargs=2, type=click.IntRange(min=1), metavar="H W", help=help_text
    )


def device_option(default: str | None = "cpu") -> Callable[[Command], Command]:
    """`--device cpu|0|cuda:0` -> `device: str`, as `torch.device` takes it."""
    return click.option(
        "--device",
        default=default,
        show_default=default is not None,
        callback=_device,
        metavar="cpu|0|cuda:0",
        help="Where to run." if default else "Where to run (default: as the bundle's target says).",
    )


def backend_option(default: str | None = None) -> Callable[[Command], Command]:
    """`--backend` -> `backend: str | None`; None: what the model was made for."""
    return click.option(
        "--backend",
        type=BackendChoice(),
        default=default,
        show_default=default is not None,
        help="Runtime (default: torch for a checkpoint, the target's for a bundle).",
    )


threads_option = click.option(
    "--threads", type=click.IntRange(min=1), help="Threads of one operator on a CPU."
)
cuda_memory_option = click.option(
    "--cuda-memory",
    type=click.Choice(CUDA_MEMORY),
    help="Library for a TensorRT engine's memory and streams (default: the target's).",
)


def predictor_options(command: Command) -> Command:
    """Options of a predictor in `predict` and `evaluate`, for `requested_predictor`."""
    for option in reversed(
        (
            backend_option(),
            device_option(default=None),
            threads_option,
            cuda_memory_option,
            imgsz_option(
                help_text="Network input of a checkpoint: height width (default: the size that "
                "published weights were made for or its recipe says, else the image's own). "
                "A bundle has its own."
            ),
            click.option(
                "--scales",
                type=CommaList(float),
                default="1",
                show_default=True,
                help="Scales to average over; a bundle needs --window for other ones.",
            ),
            click.option("--flip", is_flag=True, help="Average with the mirrored image."),
            click.option(
                "--window",
                nargs=2,
                type=click.IntRange(min=1),
                metavar="H W",
                help="Slide a window of this size (a bundle's input) over every scale and average "
                "where windows overlap.",
            ),
            click.option(
                "--window-stride",
                nargs=2,
                type=click.IntRange(min=1),
                metavar="H W",
                help="Pixels from one window to the next.  [default: two thirds of the window]",
            ),
        )
    ):
        command = option(command)
    return command


def requested_predictor(values: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `open_predictor`: what `predictor_options` gave, taken out of `values`."""
    from artoolkit.evaluation.views import Views

    scales, flip, window, stride = map(values.pop, ("scales", "flip", "window", "window_stride"))
    try:
        views = Views(scales=scales, flip=flip, window=window, stride=stride)
    except ValueError as error:
        raise UsageError(str(error)) from error
    taken = ("backend", "device", "threads", "cuda_memory", "imgsz")
    return {"views": views} | {name: values.pop(name) for name in taken}


def latency_options(command: Command) -> Command:
    """Least number of pairs and time of the latency test."""
    for option in (
        click.option("--until-decided", is_flag=True,
                     help="Give the latency test up to ten minutes in place of --budget-s; it "
                     "takes as much as the noise of the control asks for."),
        click.option("--budget-s", type=click.FloatRange(min=1), default=45.0, show_default=True,
                     help="Time budget for the latency test (s)."),
        click.option("--blocks", type=click.IntRange(min=2), default=20, show_default=True,
                     help="Minimum number of block pairs."),
    ):  # fmt: skip
        command = option(command)
    return command


verbose_option = click.option(
    "-v",
    "--verbose",
    is_flag=True,
    callback=level(logging.DEBUG),
    help="Show every check with its details.",
)


track_option = click.option(
    "--track",
    multiple=True,
    metavar="NAME|MODULE:FACTORY",
    help=f"Tell a tracker: {', '.join(TRACKERS)}, or a Callback of your own; may be repeated.",
)
junit_option = click.option(
    "--junit",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the checks here as JUnit XML too, as CI services read it.",
)


def out_option(*, help_text: str, required: bool = True) -> Callable[[Command], Command]:
    """`--out PATH` -> `out: Path`."""
    return click.option("--out", required=required, type=click.Path(path_type=Path), help=help_text)
