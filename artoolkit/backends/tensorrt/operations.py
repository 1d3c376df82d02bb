"""Contents of a compiled RTX engine: its sections, and its program, one line per operation.

RTX plans carry a table of sections and their program as text (kernels, launch geometry, tensors,
memory regions). The format is not documented: it was read from plans of version 1.7, is checked
before it is believed, and what has another form gives no sections and no operations.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from itertools import zip_longest

_OPERATION = re.compile(rb'\n  (\w+)=\{ name="?([^\s"]+)"? ([^\n]*)')
_GENERATED_NAME = re.compile(r"__mye\d+\w*")
# Generated names of constants; which of them are one depends on their values.
_CONSTANT_NAME = re.compile(r"__mye\d+_?d?const\b")
# Tag, place and size of a section; both tags are written backwards.
_SECTION = re.compile(rb"(NGNE|THGW)\0{4}(.{16})", re.DOTALL)
_TABLE_BYTES = 4096
_ONNX_LAYER = re.compile(r"\[ONNX Layer: ([^\]]+)\]")


@dataclass(frozen=True)
class Operation:
    """A kernel launch: its kind, its name, the ONNX nodes in it and everything else about it."""

    kind: str
    name: str
    nodes: tuple[str, ...]
    details: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name} ({', '.join(self.nodes) or 'no ONNX node'})"


@dataclass(frozen=True)
class PlanParts:
    """Every byte of a plan beside its constants, and how many bytes those are."""

    program: bytes
    constants_bytes: int


def split_plan(plan: bytes) -> PlanParts | None:
    """Program and constants of a plan; None where it is not in the form that is known."""
    places = {
        tag: struct.unpack("<QQ", place) for tag, place in _SECTION.findall(plan, 0, _TABLE_BYTES)
    }
    if set(places) != {b"NGNE", b"THGW"}:
        return None
    engine, constants = (sum(places[tag]) for tag in (b"NGNE", b"THGW"))
    start, size = places[b"THGW"]
    if not engine <= start <= constants <= len(plan):
        return None
    return PlanParts(plan[:start] + plan[constants:], size)


def program_operations(plan: bytes) -> tuple[Operation, ...]:
    """The operations of an RTX plan in launch order, tensors numbered by their first use."""
    names: dict[str, str] = {}

    def renumber(match: re.Match[str]) -> str:
        return names.setdefault(match.group(), f"tensor{len(names)}")

    found = []
    # The text ends where the sources of the kernels begin; names there are hashes, not operations.
    start, end = plan.find(b"\nmain {"), plan.find(b"\nshape_main {")
    for kind, name, rest in _OPERATION.findall(plan, max(start, 0), max(end, 0)):
        text = _CONSTANT_NAME.sub("constant", rest.decode(errors="replace"))
        nodes = tuple(_ONNX_LAYER.findall(text))
        details = _GENERATED_NAME.sub(renumber, text)
        found.append(Operation(kind.decode(), name.decode(errors="replace"), nodes, details))
    return tuple(found)


def memory_plan(plan: bytes) -> tuple[str, ...]:
    """Place of each tensor and size of every region, constants left out."""
    text = plan[max(plan.find(b"header {"), 0) : max(plan.find(b"\nmain {"), 0)]
    lines = text.decode(errors="replace").split("\n")
    constant = ("const_payload_size=", "constant=true", "-consts")
    return tuple(
        _GENERATED_NAME.sub("generated", line)
        for line in lines
        if "={" in line.replace(" ", "") and not any(mark in line for mark in constant)
    )


def first_difference(plan_a: bytes, plan_b: bytes) -> str | None:
    """The first operation, or else memory region, that differs, in words; None if none does."""
    operation = _first_operation(program_operations(plan_a), program_operations(plan_b))
    if operation is not None:
        return operation
    pairs = zip_longest(memory_plan(plan_a), memory_plan(plan_b))
    return next((f"memory: {a} against {b}" for a, b in pairs if a != b), None)


def _first_operation(a: tuple[Operation, ...], b: tuple[Operation, ...]) -> str | None:
    for index, (left, right) in enumerate(zip_longest(a, b)):
        if left == right:
            continue
        if left is None or right is None:
            return f"operation {index}: {left or 'nothing'} against {right or 'nothing'}"
        if str(left) != str(right):
            return f"operation {index}: {left} against {right}"
        return f"operation {index}, {left}: {_first_word(left.details, right.details)}"
    return None


def _first_word(a: str, b: str) -> str:
    """First difference of two texts, with a few words before, hashes of kernels left out."""
    left, right = ([word for word in text.split() if "0x" not in word] for text in (a, b))
    if left == right:
        return "another kernel"
    place = next(i for i, (x, y) in enumerate(zip_longest(left, right)) if x != y)
    begin = max(place - 4, 0)
    return f"'{' '.join(left[begin : place + 3])}' against '{' '.join(right[begin : place + 3])}'"
