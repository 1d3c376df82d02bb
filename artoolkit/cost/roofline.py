"""Roofline: each part of a network against this machine's peak, measured over roofline time.

The roofline of an operator is the larger of two times: its multiply-adds at the highest rate that
the runtime reaches here in large convolutions or matrix products of its precision, and its bytes at
the bandwidth of a plain copy (the roofline model: Williams, Waterman, Patterson, CACM 2009). Both
are measured in the same run, with the same threads. A part below its roofline read its inputs from
a cache.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from artoolkit.backends import backend_for
from artoolkit.backends.backend import Operator, onnx_of
from artoolkit.cost.machine_peak import MachinePeak, machine_peak
from artoolkit.cost.opening import feeds_for, model_at, subject_of
from artoolkit.evidence.records import Record, header
from artoolkit.evidence.verdict import Subject
from artoolkit.spec import Frozen
from artoolkit.words import Precision

# Operators of ONNX Runtime and layers of OpenVINO.
PARTS: dict[str, tuple[str, ...]] = {
    "convolutions": (
        "Conv", "FusedConv", "NhwcFusedConv", "QLinearConv", "ConvInteger",
        "Convolution", "GroupConvolution",
    ),
    "resizes": ("Resize", "Upsample", "Interpolate"),
    "pooling": (
        "MaxPool", "NhwcMaxPool", "AveragePool", "MatMul", "FusedMatMul", "QLinearMatMul",
        "Pooling", "FullyConnected",
    ),
    "copies": (
        "Cast", "Concat", "DequantizeLinear", "Gather", "QuantizeLinear", "ReorderInput",
        "ReorderOutput", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze",
        "Concatenation", "Convert", "FakeQuantize", "Reorder", "StridedSlice",
    ),
}  # fmt: skip
HEAD, OTHERS = "head", "element by element"
# As ONNX Runtime and OpenVINO call the types.
PRECISION_OF: dict[str, Precision] = {
    "uint8": "int8", "int8": "int8", "u8": "int8", "i8": "int8", "bf16": "bf16"
}  # fmt: skip


class Part(Frozen):
    """The operators of one kind: what they took, what they had to, and what they did."""

    name: str
    milliseconds: float
    roofline_milliseconds: float
    macs: int
    bytes_moved: int


class RooflineMeasurement(Record):
    """Every operator of one network and the machine's own limits, measured in one run."""

    KIND: ClassVar[str] = "roofline"

    subject: Subject
    machine_peak: MachinePeak
    operators: tuple[Operator, ...]

    def parts(self) -> tuple[Part, ...]:
        """The parts that occur, in the order of the table."""
        members: dict[str, list[Operator]] = {name: [] for name in (*PARTS, HEAD, OTHERS)}
        for operator, part in zip(self.operators, parts_of(self.operators), strict=True):
            members[part].append(operator)
        return tuple(self._part(name, group) for name, group in members.items() if group)

    def _part(self, name: str, operators: Iterable[Operator]) -> Part:
        group = tuple(operators)
        return Part(
            name=name,
            milliseconds=sum(o.milliseconds for o in group),
            roofline_milliseconds=sum(roofline_milliseconds(o, self.machine_peak) for o in group),
            macs=sum(o.macs for o in group),
            bytes_moved=sum(o.bytes_moved for o in group),
        )


def measure_roofline(
    model: Path | str, *, backend: str | None = None, threads: int | None = None
) -> RooflineMeasurement:
    """Profile a bundle or file on the CPU, by default in ONNX Runtime, and this machine likewise.

    Raises `BundleError` for a bundle that was changed, `BackendError` for what cannot run here.
    """
    opened = model_at(Path(model), check_hashes=True)
    runs = backend_for(onnx_of(opened), backend)
    with runs.open(opened, device="cpu", threads=threads) as runner:
        batch = feeds_for(opened, runner.spec)
    in_use, operators = runs.profile(opened, batch, threads=threads)
    return RooflineMeasurement(
        **header(RooflineMeasurement),
        subject=subject_of(opened),
        machine_peak=machine_peak(runs, in_use),
        operators=operators,
    )


def parts_of(operators: Iterable[Operator]) -> list[str]:
    """The part of each operator: the head is everything after the last convolution."""
    group = list(operators)
    convolutions = [i for i, o in enumerate(group) if o.kind in PARTS["convolutions"]]
    last = max(convolutions, default=-1)
    kinds = {kind: name for name, kinds in PARTS.items() for kind in kinds}
    return [HEAD if i > last >= 0 else kinds.get(o.kind, OTHERS) for i, o in enumerate(group)]


def roofline_milliseconds(operator: Operator, machine: MachinePeak) -> float:
    """The least time that `operator` can take on `machine`."""
    precision: Precision = PRECISION_OF.get(operator.dtype, "fp32")
    rate = machine.macs_per_s.get(precision, machine.macs_per_s["fp32"])
    return 1e3 * max(operator.macs / rate, operator.bytes_moved / machine.bytes_per_s)
