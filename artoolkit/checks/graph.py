"""The graph check: the candidate's ONNX graph is the baseline's. Needs onnx, not torch."""

from __future__ import annotations

from typing import ClassVar

from artoolkit.checks.contest import Pair
from artoolkit.checks.kind import CheckKind, Records, Terms
from artoolkit.evidence.verdict import Check, PairRecord, in_brief
from artoolkit.graph.onnx_file import load_onnx

# So many differences stand below the headline, and so many are kept in the record.
SHOWN, KEPT = 5, 100


class GraphMeasurement(PairRecord):
    """Counts of what was compared, and the first of the `found` differences.

    `relation`: what the candidate is to the baseline all the same, such as its int8 form; what
    differs beside that stands first.
    """

    KIND: ClassVar[str] = "graph"

    counts: dict[str, int]
    found: int
    differences: tuple[str, ...]
    relation: str = ""


def measure(pair: Pair) -> Records:
    one, other = (load_onnx(side.onnx, "the graph check") for side in pair.sides)
    from artoolkit.graph.identity import compare_graphs, summarised, weights_by_rule
    from artoolkit.graph.relation import relation

    names = [
        weights_by_rule(model) if side.trained is None else side.trained
        for model, side in zip((one, other), pair.sides, strict=True)
    ]
    found = compare_graphs(one, other, *names)
    what, beside = relation(one, other) if found else ("", ())
    sentences = summarised(beside if what else found)
    trained = len(set(names[0]))
    record = pair.record(
        GraphMeasurement,
        counts={
            "nodes": len(one.graph.node),
            "trained": trained,
            "constants": len(one.graph.initializer) - trained,
        },
        found=len(found),
        differences=sentences[:KEPT],
        relation=what,
    )
    return {"graph.json": record}


def judge(records: Records, terms: Terms) -> Check:
    record: GraphMeasurement = records["graph.json"]
    equal = "identical but for {trained} trained parameters: {nodes} nodes, {constants} constants"
    return without_difference("graph", record, equal)


def without_difference(name: str, record: GraphMeasurement, equal: str) -> Check:
    """PASS with `equal`, filled in with the counts; FAIL with the first of the differences."""
    if not record.found:
        brief = in_brief(equal.format(**record.counts))
        return Check(name=name, result="PASS", **brief, numbers=record.counts)
    more = len(record.differences) - SHOWN
    headline = record.relation or f"{record.found} differences"
    beside = ("and beside that:",) if record.relation and record.differences else ()
    rest = (f"and {more} more",) if more > 0 else ()
    return Check(
        name=name,
        result="FAIL",
        **in_brief(headline, *beside, *record.differences[:SHOWN], *rest),
        numbers={"differences": list(record.differences), **record.counts},
    )


GRAPH = CheckKind(
    name="graph",
    question="Is the ONNX graph identical to the baseline's, apart from trained weights?",
    records={"graph.json": GraphMeasurement},
    measure=measure,
    judge=judge,
    again="files",
    portable=True,
)
