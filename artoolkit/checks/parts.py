"""The check of training-only parts: nothing of the loss is in the deployed file. Needs onnx."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar, Literal

from artoolkit.checks.contest import Pair
from artoolkit.checks.graph import KEPT, differing
from artoolkit.checks.kind import CheckKind, Records, Terms
from artoolkit.evidence.verdict import Check, PairRecord, in_brief
from artoolkit.graph.onnx_file import load_onnx

NAME = "training-only parts"


class PartsMeasurement(PairRecord):
    """Names of trained parameters and operators by count, each of (baseline, candidate)."""

    KIND: ClassVar[str] = "parts"

    kind: Literal["parts"]
    schema_version: Literal["1"]
    parameters: tuple[tuple[str, ...], tuple[str, ...]]
    operators: tuple[dict[str, int], dict[str, int]]


def measure(pair: Pair) -> Records | None:
    """A bare file does not say which parameters it has from training."""
    names = (pair.baseline.trained, pair.candidate.trained)
    if names[0] is None or names[1] is None:
        return None
    models = (load_onnx(side.onnx, f"the check of {NAME}") for _, side in pair.both())
    one, other = (dict(Counter(node.op_type for node in model.graph.node)) for model in models)
    record = PartsMeasurement(
        **pair.header(PartsMeasurement),
        parameters=(names[0], names[1]),
        operators=(one, other),
    )
    return {"parts.json": record}


def judge(records: Records, terms: Terms) -> Check:
    record: PartsMeasurement = records["parts.json"]
    names = [set(parameters) for parameters in record.parameters]
    before, after = record.operators
    found = [
        f"state-dict key {key}: only in the {'baseline' if key in names[0] else 'candidate'}"
        for key in sorted(names[0] ^ names[1])
    ]
    found += [
        f"count of {operator}: {before.get(operator, 0)} against {after.get(operator, 0)}"
        for operator in sorted({*before, *after})
        if before.get(operator) != after.get(operator)
    ]
    numbers = {"parameters": len(names[1]), "operators": after}
    if found:
        return differing(NAME, found[:KEPT], len(found), **numbers)
    return Check(
        name=NAME,
        result="PASS",
        **in_brief(
            f"none: same {len(names[1])} parameter names, same operator counts ({len(after)} types)"
        ),
        numbers=numbers,
    )


PARTS = CheckKind(
    name=NAME,
    question="Did anything of the loss reach the deployed file?",
    records={"parts.json": PartsMeasurement},
    measure=measure,
    judge=judge,
    again="files",
)
