"""The checks that read ONNX files: same graph, nothing of the training in it.

The comparison itself is `artoolkit.graph.identity`. Needs onnx, not torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from artoolkit.evidence.verdict import Check
from artoolkit.graph.onnx_file import load_onnx

if TYPE_CHECKING:
    from artoolkit.graph.identity import Difference

SHOWN = 5


def _difference_check(
    name: str, found: Sequence[Difference], equal: str, *, required: bool, **numbers: object
) -> Check:
    if not found:
        return Check(
            name=name, result="PASS", summary=equal, numbers=dict(numbers), required=required
        )
    words = "; ".join(map(str, found[:SHOWN]))
    more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return Check(
        name=name,
        result="FAIL",
        summary=f"{len(found)} differences: {words}{more}",
        numbers={"differences": [str(one) for one in found[:100]], **numbers},
        required=required,
    )


def check_graph(
    baseline: Path,
    candidate: Path,
    *,
    trained: tuple[Collection[str], Collection[str]] | None = None,
    required: bool = True,
) -> Check:
    """Is the candidate's graph the baseline's, the values of trained parameters aside?

    `trained` names the trained initialisers of each; without it, those that convolutions and
    matrix products take as weights are taken for trained.
    """
    one, other = (load_onnx(path, "the graph check") for path in (baseline, candidate))
    from artoolkit.graph.identity import compare_graphs, weights_by_rule

    names = trained or (weights_by_rule(one), weights_by_rule(other))
    found = compare_graphs(one, other, *names)
    constants = len(one.graph.initializer) - len(set(names[0]))
    return _difference_check(
        "graph",
        found,
        f"identical: {len(one.graph.node)} nodes; {len(set(names[0]))} trained parameters aside, "
        f"the values of {constants} constants too",
        required=required,
        nodes=len(one.graph.node),
        trained=len(set(names[0])),
        constants=constants,
    )


def check_parts(
    baseline: Path,
    candidate: Path,
    *,
    trained: tuple[Collection[str], Collection[str]],
    required: bool = True,
) -> Check:
    """Did anything of the loss reach the file: the same parameters, the same operator census?"""
    one, other = (
        load_onnx(path, "the check of training-only parts") for path in (baseline, candidate)
    )
    from artoolkit.graph.identity import training_only_parts

    census = [Counter(node.op_type for node in model.graph.node) for model in (one, other)]
    found = training_only_parts(*trained, *census)
    return _difference_check(
        "training-only parts",
        found,
        f"none: the same {len(set(trained[1]))} parameters by name, the same "
        f"{len(census[1])} kinds of operators as often",
        required=required,
        operators=dict(census[1]),
    )
