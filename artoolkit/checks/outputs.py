"""The outputs check: a bundle computes what the trained network does, two files what they declare.

A bundle is held to the trained network (`artoolkit export` measures that) or to its golden labels;
bare ONNX files, whose weights may differ, to names, types, shapes and finite values.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from artoolkit.backends.runner import Runner
from artoolkit.checks.contest import Pair
from artoolkit.checks.kind import CheckKind, Records, Terms
from artoolkit.evidence.bundle import Bundle
from artoolkit.evidence.verdict import Check, PairRecord, Result, in_brief
from artoolkit.labels import VOID

Outputs = dict[str, NDArray[Any]]


class OutputsMeasurement(PairRecord):
    """The candidate's outputs against those of the trained network, golden labels or the baseline.

    `agreement` is the share of `pixels` with the same label; `scores_max_abs` is in the unit of the
    scores, `scores_max_rel` that over the largest score. `layers` are those that differ the most
    from float32, None where nobody looked. `tensors` are type and shape by name, of (baseline,
    candidate).
    """

    KIND: ClassVar[str] = "outputs"

    kind: Literal["outputs"]
    schema_version: Literal["1"]
    against: Literal["trained network", "golden labels", "baseline"]
    images: int
    pixels: int = 0
    agreement: float | None = None
    scores_max_abs: float | None = None
    scores_max_rel: float | None = None
    layers: tuple[str, ...] | None = None
    tensors: tuple[dict[str, str], dict[str, str]] | None = None
    not_finite: tuple[str, ...] = ()
    largest_difference: dict[str, float] | None = None


def measure(pair: Pair) -> Records:
    if pair.settings.outputs is not None:
        return {"outputs.json": pair.settings.outputs}
    if isinstance(pair.candidate.model, Bundle):
        with closing(pair.open(pair.candidate)) as runner:
            found = golden_replay(runner, pair.candidate.model)
    else:
        results = []
        for _, side in pair.both():
            with closing(pair.open(side)) as runner:
                results.append(runner.infer(pair.feeds[0]))
        found = tensors_apart(*results)
    return {"outputs.json": OutputsMeasurement(**pair.header(OutputsMeasurement), **found)}


def golden_replay(runner: Runner, bundle: Bundle) -> dict[str, Any]:
    """The labels of the golden images against those that the trained network gave them."""
    golden, batch = bundle.golden(), bundle.manifest.target.batch
    batches = np.split(golden["images"], len(golden["images"]) // batch)
    predicted = np.concatenate([runner.infer(images)["labels"] for images in batches])
    known = golden["labels"] != VOID
    return {
        "against": "golden labels",
        "images": len(predicted),
        "pixels": int(known.sum()),
        "agreement": float((predicted[known] == golden["labels"][known]).mean()),
    }


def tensors_apart(baseline: Outputs, candidate: Outputs) -> dict[str, Any]:
    """What the two declare, what is not finite in the candidate, and how far values lie apart."""
    declared = [
        {name: f"{a.dtype.name} {'x'.join(map(str, a.shape))}" for name, a in outputs.items()}
        for outputs in (baseline, candidate)
    ]
    same = declared[0] == declared[1]
    return {
        "against": "baseline",
        "images": 1,
        "tensors": declared,
        "not_finite": [
            name
            for name, array in candidate.items()
            if array.dtype.kind == "f" and not np.isfinite(array).all()
        ],
        "largest_difference": {
            name: _apart(array, candidate[name])
            for name, array in baseline.items()
            if same and array.size
        },
    }


def _apart(one: NDArray[Any], other: NDArray[Any]) -> float:
    """The largest finite difference: what is not finite is named by itself."""
    difference = np.abs(one.astype(np.float64) - other.astype(np.float64))
    return float(difference[np.isfinite(difference)].max(initial=0.0))


def judge(records: Records, terms: Terms) -> Check:
    record: OutputsMeasurement = records["outputs.json"]
    if record.tensors is not None:
        return _judge_tensors(record)
    least = terms.margins.label_agreement[terms.precision]
    allowed = terms.margins.scores_atol[terms.precision]
    assert record.agreement is not None, "measured wherever tensors are not"
    holds = record.agreement >= least
    details = [
        f"on {record.images} images, {record.pixels:,} pixels; at least {100 * least:g} % needed"
    ]
    numbers: dict[str, Any] = record.model_dump(
        mode="json", include={"against", "images", "pixels", "agreement"}
    ) | {"least": least}
    if record.scores_max_abs is not None:
        holds &= record.scores_max_abs <= allowed
        details.append(f"scores differ by at most {record.scores_max_abs:.2g}, {allowed:g} allowed")
        numbers |= {
            "scores_max_abs": record.scores_max_abs,
            "scores_max_rel": record.scores_max_rel,
            "allowed": allowed,
        }
    if record.layers is not None and not holds:
        worst = ", ".join(record.layers)
        details.append(
            f"largest relative errors against float32: {worst}"
            if worst
            else "every layer computes what it does in float32"
        )
        numbers["layers"] = list(record.layers)
    headline = f"{100 * record.agreement:.4f} % of the pixels agree with the {record.against}"
    result: Result = "PASS" if holds else "FAIL"
    return Check(name="outputs", result=result, **in_brief(headline, *details), numbers=numbers)


def _judge_tensors(record: OutputsMeasurement) -> Check:
    """PASS if both give the same names, types and shapes, and only finite values.

    Weights differ, so values may: how far they lie apart is reported, not judged.
    """
    assert record.tensors is not None, "checked by judge"
    one, other = record.tensors
    numbers = {
        "against": record.against,
        "not_finite": list(record.not_finite),
        "largest_difference": record.largest_difference,
    }
    result: Result = "FAIL"
    details: list[str] = []
    if one != other:
        headline, details = "other names, types or shapes", [f"{one} against {other}"]
    elif record.not_finite:
        headline = f"not finite in the candidate: {', '.join(record.not_finite)}"
    else:
        result, headline = "PASS", "same names, types and shapes; finite values"
        apart = (record.largest_difference or {}).items()
        details = [f"{name} differs by at most {value:.3g}" for name, value in apart]
    return Check(name="outputs", result=result, **in_brief(headline, *details), numbers=numbers)


OUTPUTS = CheckKind(
    name="outputs",
    question="Is the exported network the trained one, score by score and label by label?",
    records={"outputs.json": OutputsMeasurement},
    measure=measure,
    judge=judge,
    again="trust",
)
