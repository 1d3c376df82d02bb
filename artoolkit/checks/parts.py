"""The check of training-only parts: nothing of the loss is in the deployed file. Needs onnx."""

from __future__ import annotations

from collections import Counter

from artoolkit.checks.contest import Pair
from artoolkit.checks.graph import KEPT, GraphMeasurement, without_difference
from artoolkit.checks.kind import CheckKind, Records, Terms
from artoolkit.evidence.verdict import Check
from artoolkit.graph.onnx_file import load_onnx

NAME = "training-only parts"


def measure(pair: Pair) -> Records | None:
    """Names of trained parameters and operators by count; a bare file does not tell the names."""
    before, after = (side.trained for side in pair.sides)
    if before is None or after is None:
        return None
    models = [load_onnx(side.onnx, f"the check of {NAME}") for side in pair.sides]
    from artoolkit.graph.identity import training_only_parts

    census = [Counter(node.op_type for node in model.graph.node) for model in models]
    found = training_only_parts(before, after, *census)
    record = pair.record(
        GraphMeasurement,
        counts={"parameters": len(set(after)), "operators": len(census[1])},
        found=len(found),
        differences=tuple(map(str, found[:KEPT])),
    )
    return {"parts.json": record}


def judge(records: Records, terms: Terms) -> Check:
    equal = "none: same {parameters} parameter names, same operator counts ({operators} types)"
    return without_difference(NAME, records["parts.json"], equal)


PARTS = CheckKind(
    name=NAME,
    question="Did anything of the loss reach the deployed file?",
    records={"parts.json": GraphMeasurement},
    measure=measure,
    judge=judge,
    again="files",
    portable=True,
)
