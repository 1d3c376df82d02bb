"""The questions that the rest of artoolkit asks a backend, answered in the backend's own folder.

A backend is one folder with a loader, a runner and a subclass of `Backend`, registered by one line
in `artoolkit/backends/__init__.py`. Nothing outside asks for a backend by its name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Literal

from artoolkit.backends.runner import Batch, Runner
from artoolkit.errors import BackendError, UnavailableError, UsageError
from artoolkit.evidence.bundle import Bundle
from artoolkit.fresh_process import Progress as Reporter
from artoolkit.graph.memory import MemoryComponents
from artoolkit.spec import Frozen
from artoolkit.words import Precision

# A bundle, or a bare file that the backend opens by its ending (an .onnx file, an engine).
Model = Bundle | Path
Progress = Callable[[str, float], None]
Result = Literal["PASS", "FAIL", "UNDECIDED", "UNAVAILABLE"]


@dataclass(frozen=True, kw_only=True)
class ProgramComparison:
    """Comparison of two models' programs, weights aside.

    `headline` has at most 80 characters; `details` hold one sentence each.
    """

    result: Result
    headline: str
    details: tuple[str, ...] = ()
    numbers: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Built:
    """An engine that was built: `record` is its sidecar, `rows` what a person is told of it."""

    engine: Path
    record: dict[str, Any]
    rows: dict[str, str]


class Operator(Frozen):
    """One operator of the graph that really runs, in the order in which it runs.

    `milliseconds`: median over the runs. `macs`: multiply-adds, 0 where it is neither a
    convolution nor a matrix product. `bytes_moved`: inputs, weights and outputs, each once, but no
    weights that the runtime packed beforehand. `shape`: of its first output. `dtype`: of its first
    input, as the runtime calls it.
    """

    name: str
    kind: str
    milliseconds: float
    macs: int
    bytes_moved: int
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Backend(ABC):
    """One runtime; the fields of a subclass are the options that only it knows.

    `devices`: the kinds that `--device` takes. `precisions`: those of bundles that it computes in.
    `ahead_of_time`: its programs are compared without its device, wherever another backend runs.
    `checkpoints`: it runs checkpoints, not bundles.
    `suffixes`: the endings of bare files that it opens. `abilities`: rows of `artoolkit doctor`,
    each with the modules that it needs. `int8_activations`: the type that its int8 operators take.
    `triton`: the line of config.pbtxt that names it to Triton (None: Triton does not serve it).
    `takes_session`: it computes as the target's `session` says, which is tuned on a CPU.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    default_device: ClassVar[str] = "cpu"
    precisions: ClassVar[tuple[Precision, ...]] = ("fp32", "tf32", "fp16", "int8")
    ahead_of_time: ClassVar[bool] = False
    checkpoints: ClassVar[bool] = False
    suffixes: ClassVar[tuple[str, ...]] = ()
    abilities: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    int8_activations: ClassVar[Literal["int8", "uint8"]] = "uint8"
    triton: ClassVar[str | None] = None
    takes_session: ClassVar[bool] = False

    @classmethod
    def configured(cls, options: Mapping[str, Any]) -> Backend:
        """The backend with its options (None: its own choice); `UsageError` for one it lacks."""
        known = [one.name for one in fields(cls)]
        given = {name: value for name, value in options.items() if value is not None}
        for name, value in given.items():
            if name not in known:
                raise UsageError(
                    f"{cls.name} has no option {name}",
                    got=value,
                    expected=", ".join(known) or "none",
                )
        return cls(**given)

    def opens(self, file: Path) -> bool:
        """True if this backend runs a bare file with this name."""
        return file.suffix in self.suffixes

    def check_precision(self, bundle: Bundle) -> None:
        """Raises `BackendError` where the bundle's precision is none that this backend has."""
        target = bundle.manifest.target
        wanted = {target.precision}
        if target.precision == "int8":
            wanted.add(target.float_precision)
        if missing := wanted - {*self.precisions}:
            raise BackendError(
                f"{self.title} does not compute in {', '.join(missing)}",
                got=f"a bundle of target {target.name}",
                expected=", ".join(self.precisions),
            )

    def device_for(self, model: Model, device: str | None = None) -> str:
        """The device that was asked for, or else the target's where this backend runs on it."""
        if device is not None:
            return device
        wanted = model.manifest.target.device if isinstance(model, Bundle) else self.default_device
        return wanted if wanted.partition(":")[0] in self.devices else self.default_device

    @abstractmethod
    def open(
        self,
        model: Model,
        *,
        device: str,
        threads: int | None = None,
        outputs: Sequence[str] | None = None,
    ) -> Runner:
        """Open `model` on `device`; `outputs` may name tensors inside the graph (None: its own).

        Raises `BackendError` (or `EngineError`) where it cannot be opened here, `UsageError` where
        this backend runs no such model, `MissingLibraryError`.
        """

    def build(
        self, bundle: Bundle, asked: Mapping[str, Any], *, progress: Reporter | None = None
    ) -> tuple[Built, ...]:
        """Compile into `engines/` of the bundle and, before it, of the baseline inside it.

        `asked` are options of `artoolkit build` by name, those that were given; `progress` stops
        the build where it returns False. Raises `UsageError` for an option that this backend lacks
        or where it needs no engines, `EngineError` where none can be built, and as `open`.
        """
        raise UsageError(
            f"target {bundle.manifest.target.name} runs on {self.name}, which needs no engine",
            hint="It runs as it is: artoolkit benchmark BUNDLE. For an engine export again, for "
            "example with --target rtx-40.",
        )

    def memory(
        self, model: Model, *, device: str, threads: int | None = None
    ) -> tuple[str, MemoryComponents]:
        """The source of the numbers in words, and the bytes by component; errors as `open`.

        Raises `UnavailableError` where this backend does not tell.
        """
        raise UnavailableError(f"{self.title} does not tell bytes by component")

    def compare_programs(
        self,
        baseline: Model,
        candidate: Model,
        *,
        device: str,
        trained: Collection[str] | None = None,
        progress: Progress | None = None,
    ) -> ProgramComparison:
        """Compare the candidate's program with the baseline's.

        `trained` names the initialisers that are trained parameters; None: those that convolutions
        and matrix products take as weights. Errors as `memory`.
        """
        raise UnavailableError(f"{self.title} does not tell its compiled programs")

    def profile(
        self, model: Model, batch: Batch, *, threads: int | None = None
    ) -> tuple[int, tuple[Operator, ...]]:
        """The threads in use and every operator as it runs on the CPU, timed on `batch`.

        Raises `UsageError` where this backend times no operators; other errors as `open`.
        """
        raise UsageError(f"{self.title} times no operators here", hint="Try onnxruntime.")

    def peaks(self, threads: int) -> dict[Precision, float]:
        """Multiply-adds a second that this backend reaches on this CPU, by precision.

        Raises as `profile`.
        """
        raise UsageError(f"{self.title} times no operators here", hint="Try onnxruntime.")


def onnx_of(model: Model) -> Path:
    """The ONNX file of a bundle, or the bare file itself."""
    return model.model if isinstance(model, Bundle) else model
