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
from artoolkit.evidence.verdict import Check, PairRecord, in_brief
from artoolkit.labels import VOID

Outputs = dict[str, NDArray[Any]]


class OutputsMeasurement(PairRecord):
    """The candidate's outputs against those of the trained network, golden labels or the baseline.

    `agreement` is the share of `pixels` with the same label; `scores_max_abs` is in the unit of the
    scores, `scores_max_rel` that over the largest score, `scores_spread` the highest score above
    the lowest (None in records of before). `layers` are those that differ the most
    from float32, None where nobody looked. Of a baseline: what is not as declared (`wrong`), and
    how far finite values lie apart, by output.
    """

    KIND: ClassVar[str] = "outputs"

    against: Literal["trained network", "golden labels", "baseline"]
    images: int = 1
    pixels: int = 0
    agreement: float = 1.0
    scores_max_abs: float | None = None
    scores_max_rel: float | None = None
    scores_spread: float | None = None
    layers: tuple[str, ...] | None = None
    wrong: tuple[str, ...] = ()
    largest_difference: dict[str, float] | None = None


def measure(pair: Pair) -> Records:
    if pair.outputs is not None:
        return {"outputs.json": pair.outputs}
    if isinstance(pair.candidate.model, Bundle):
        with closing(pair.open(pair.candidate)) as runner:
            found = golden_replay(runner, pair.candidate.model)
    else:
        results = []
        for side in pair.sides:
            with closing(pair.open(side)) as runner:
                results.append(runner.infer(pair.feeds[0]))
        found = outputs_apart(*results)
    return {"outputs.json": pair.record(OutputsMeasurement, **found)}


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


def outputs_apart(baseline: Outputs, candidate: Outputs) -> dict[str, Any]:
    """Other names, types or shapes, what is not finite, and how far values lie apart."""
    one, other = (
        {name: f"{a.dtype.name} {'x'.join(map(str, a.shape))}" for name, a in outputs.items()}
        for outputs in (baseline, candidate)
    )
    wrong = [f"{one} against {other}"] if one != other else []
    apart = {}
    for name, array in candidate.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            wrong.append(f"{name} is not finite in the candidate")
        if one == other:
            difference = np.abs(baseline[name].astype(np.float64) - array.astype(np.float64))
            apart[name] = float(difference[np.isfinite(difference)].max(initial=0.0))
    return {"against": "baseline", "wrong": wrong, "largest_difference": apart}


def judge(records: Records, terms: Terms) -> Check:
    """Weights of bare files differ, so values may: how far they do is reported, not judged."""
    record: OutputsMeasurement = records["outputs.json"]
    least = terms.margins.label_agreement[terms.precision]
    allowed = terms.margins.scores_allowed(terms.precision, record.scores_spread)
    numbers: dict[str, Any] = {"against": record.against, "images": record.images}
    if record.largest_difference is not None:
        holds = not record.wrong
        headline = record.wrong[0] if record.wrong else "same names, types and shapes, finite"
        apart = record.largest_difference.items()
        details = [*record.wrong[1:], *(f"{name} differs by at most {d:.3g}" for name, d in apart)]
        numbers |= {"wrong": list(record.wrong), "largest_difference": dict(apart)}
    else:
        holds = record.agreement >= least
        headline = f"{100 * record.agreement:.4f} % of the pixels agree with the {record.against}"
        details = [f"{record.images} images, {record.pixels:,} pixels, {100 * least:g} % needed"]
        numbers |= {"pixels": record.pixels, "agreement": record.agreement, "least": least}
    if record.scores_max_abs is not None:
        holds &= record.scores_max_abs <= allowed
        details.append(
            f"scores differ by at most {record.scores_max_abs:.2g}, {allowed:.2g} allowed"
        )
        numbers |= {"scores_max_abs": record.scores_max_abs, "allowed": allowed}
        numbers |= {
            "scores_max_rel": record.scores_max_rel, "scores_spread": record.scores_spread
        }  # fmt: skip
    if record.layers is not None and not holds:
        worst = ", ".join(record.layers) or "none"
        details.append(f"largest relative errors of layers against float32: {worst}")
        numbers["layers"] = list(record.layers)
    return Check(
        name="outputs",
        result="PASS" if holds else "FAIL",
        **in_brief(headline, *details),
        numbers=numbers,
    )


OUTPUTS = CheckKind(
    name="outputs",
    question="Is the exported network the trained one, score by score and label by label?",
    records={"outputs.json": OutputsMeasurement},
    measure=measure,
    judge=judge,
    again="trust",
    portable=True,
)
