"""The graph check: the candidate's ONNX graph is the baseline's. Needs onnx, not torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from artoolkit.checks.contest import Pair
from artoolkit.checks.kind import CheckKind, Records, Terms
from artoolkit.evidence.verdict import Check, PairRecord, in_brief
from artoolkit.graph.onnx_file import load_onnx

# So many differences stand below the headline, and so many are kept in the record.
SHOWN, KEPT = 5, 100


class GraphMeasurement(PairRecord):
    """Nodes, trained parameters and constants of the baseline's graph, and what differs."""

    KIND: ClassVar[str] = "graph"

    kind: Literal["graph"]
    schema_version: Literal["1"]
    nodes: int
    trained: int
    constants: int
    found: int
    differences: tuple[str, ...]


def measure(pair: Pair) -> Records:
    one, other = (load_onnx(side.onnx, "the graph check") for _, side in pair.both())
    from artoolkit.graph.identity import compare_graphs, weights_by_rule

    names = [
        weights_by_rule(model) if side.trained is None else side.trained
        for model, (_, side) in zip((one, other), pair.both(), strict=True)
    ]
    found = compare_graphs(one, other, *names)
    record = GraphMeasurement(
        **pair.header(GraphMeasurement),
        nodes=len(one.graph.node),
        trained=len(set(names[0])),
        constants=len(one.graph.initializer) - len(set(names[0])),
        found=len(found),
        differences=tuple(map(str, found[:KEPT])),
    )
    return {"graph.json": record}


def judge(records: Records, terms: Terms) -> Check:
    record: GraphMeasurement = records["graph.json"]
    numbers = {"nodes": record.nodes, "trained": record.trained, "constants": record.constants}
    if record.found:
        return differing("graph", record.differences, record.found, **numbers)
    return Check(
        name="graph",
        result="PASS",
        **in_brief(
            f"identical but for {record.trained} trained parameters: {record.nodes} nodes, "
            f"{record.constants} constants"
        ),
        numbers=numbers,
    )


def differing(name: str, differences: Sequence[str], found: int, **numbers: Any) -> Check:
    """FAIL with the first of `found` differences below the headline."""
    more = (f"and {found - SHOWN} more",) if found > SHOWN else ()
    return Check(
        name=name,
        result="FAIL",
        **in_brief(f"{found} differences", *differences[:SHOWN], *more),
        numbers={"differences": list(differences)} | numbers,
    )


GRAPH = CheckKind(
    name="graph",
    question="Is the ONNX graph identical to the baseline's, apart from trained weights?",
    records={"graph.json": GraphMeasurement},
    measure=measure,
    judge=judge,
    again="files",
)
