"""Compare two ONNX graphs, trained weights aside. Needs onnx, not torch.

Read `canonical.py` first. Names of inputs and outputs are compared, since a caller binds them; all
other names are not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

import onnx
from onnx import helper, inliner

from artoolkit.graph.canonical import CanonicalGraph, Source, Step

# Which inputs of an operator are weights in any network; ONNX Runtime's own operators included.
WEIGHT_INPUTS = {
    "Conv": (1, 2),
    "FusedConv": (1, 2),
    "ConvTranspose": (1, 2),
    "Gemm": (1, 2),
    "FusedGemm": (1, 2),
    "MatMul": (0, 1),
    "FusedMatMul": (0, 1),
    "BatchNormalization": (1, 2, 3, 4),
    "QLinearConv": (3, 4, 5, 8),
    "QLinearMatMul": (3, 4, 5),
}


@dataclass(frozen=True)
class Difference:
    """One way in which B is not A: what differs, where, and what each side has."""

    what: str
    where: str
    a: str
    b: str

    def __str__(self) -> str:
        return f"{self.what} of {self.where}: {self.a or 'nothing'} against {self.b or 'nothing'}"


def compare_graphs(
    a: onnx.ModelProto,
    b: onnx.ModelProto,
    trained_a: Collection[str],
    trained_b: Collection[str],
) -> tuple[Difference, ...]:
    """Every difference of `b` from `a`; none if they are one program with other weights.

    Compared: opsets, inputs, outputs, operators, attributes, edges, type and shape of every
    initialiser, and the values of those that are not trained. Metadata and names are not.
    """
    a, b = (inliner.inline_local_functions(model) for model in (a, b))
    form_a, form_b = CanonicalGraph(a.graph, trained_a), CanonicalGraph(b.graph, trained_b)
    return (*_interface(a, b), *_steps(form_a, form_b), *_ends(form_a, form_b))


def weights_by_rule(model: onnx.ModelProto) -> frozenset[str]:
    """The initialisers that convolutions and matrix products take as weights, Q/DQ looked through.

    For graphs that come without a list of their trained parameters.
    """
    initialisers = {i.name for i in model.graph.initializer}
    dequantised = {n.output[0]: n for n in model.graph.node if n.op_type == "DequantizeLinear"}
    found: set[str] = set()
    for node in model.graph.node:
        for index in WEIGHT_INPUTS.get(node.op_type, ()):
            if index >= len(node.input):
                continue
            maker = dequantised.get(node.input[index])
            if maker is None:
                found.update({node.input[index]} & initialisers)
            elif maker.input[0] in initialisers:
                found.update(initialisers.intersection(maker.input))
    return frozenset(found)


def training_only_parts(
    a_state_keys: Collection[str],
    b_state_keys: Collection[str],
    census_a: Mapping[str, int],
    census_b: Mapping[str, int],
) -> tuple[Difference, ...]:
    """Differences of B's checkpoint or graph from A's: keys, and operators by count."""
    keys = sorted(set(a_state_keys) ^ set(b_state_keys))
    operators = sorted(k for k in {*census_a, *census_b} if census_a.get(k) != census_b.get(k))
    return (
        *(
            Difference("state-dict key", key, *_sides(key in a_state_keys, key in b_state_keys))
            for key in keys
        ),
        *(
            Difference("count", name, str(census_a.get(name, 0)), str(census_b.get(name, 0)))
            for name in operators
        ),
    )


def _sides(in_a: bool, in_b: bool) -> tuple[str, str]:
    return ("present" if in_a else ""), ("present" if in_b else "")


def _interface(a: onnx.ModelProto, b: onnx.ModelProto) -> Iterator[Difference]:
    opsets_a, opsets_b = (
        {o.domain or "ai.onnx": o.version for o in m.opset_import} for m in (a, b)
    )
    for domain in sorted(opsets_a.keys() | opsets_b.keys()):
        versions = str(opsets_a.get(domain, "")), str(opsets_b.get(domain, ""))
        if versions[0] != versions[1]:
            yield Difference("opset", domain, *versions)
    for what in ("input", "output"):
        values_a, values_b = (list(map(_value, getattr(m.graph, what))) for m in (a, b))
        for index in range(max(len(values_a), len(values_b))):
            pair = [v[index] if index < len(v) else "" for v in (values_a, values_b)]
            if pair[0] != pair[1]:
                yield Difference(what, f"the graph, number {index}", *pair)


def _value(value: onnx.ValueInfoProto) -> str:
    tensor = value.type.tensor_type
    sizes = [str(d.dim_value) if d.HasField("dim_value") else d.dim_param for d in tensor.shape.dim]
    kind = helper.tensor_dtype_to_string(tensor.elem_type).removeprefix("TensorProto.")
    return f"{value.name} {kind.lower()}[{', '.join(sizes)}]"


class _Pairing:
    """Pairing of the steps and weights of A with those of B."""

    def __init__(self, a: list[Step], b: list[Step]) -> None:
        self.blocks = list(_blocks(a, b))
        self.steps = {
            i: j
            for tag, i0, i1, j0, j1 in self.blocks
            if tag == "equal"
            for i, j in zip(range(i0, i1), range(j0, j1), strict=True)
        }
        self.weights: dict[int, int] = {}
        self.weights_back: dict[int, int] = {}

    def same(self, a: Source, b: Source) -> bool:
        if a.kind != b.kind or a.text != b.text:
            return False
        if a.kind == "step":
            return self.steps.get(a.number) == b.number
        if a.kind == "trained":
            there = self.weights.setdefault(a.number, b.number)
            back = self.weights_back.setdefault(b.number, a.number)
            return there == b.number and back == a.number
        return a.number == b.number


def _blocks(a: list[Step], b: list[Step]) -> Iterator[tuple[str, int, int, int, int]]:
    """As `SequenceMatcher.get_opcodes`: equal runs of operators, and what is in one graph alone.

    Where an operator was added or taken away, runs are found by what the steps hold (attributes,
    shapes of weights, constants), so that a network of many alike layers does not shift by one;
    between those runs, by operator.
    """
    operators = [step.operator for step in a], [step.operator for step in b]
    if operators[0] == operators[1]:
        yield "equal", 0, len(a), 0, len(b)
        return
    contents = [_content(step) for step in a], [_content(step) for step in b]
    for tag, i0, i1, j0, j1 in SequenceMatcher(None, *contents, autojunk=False).get_opcodes():
        if tag != "replace":
            yield tag, i0, i1, j0, j1
            continue
        inner = SequenceMatcher(None, operators[0][i0:i1], operators[1][j0:j1], autojunk=False)
        for kind, k0, k1, l0, l1 in inner.get_opcodes():
            yield kind, i0 + k0, i0 + k1, j0 + l0, j0 + l1


def _content(step: Step) -> str:
    held = [source.text for source in step.inputs if source.kind in ("trained", "constant")]
    return f"{step.operator} {sorted(step.attributes.items())} {held}"


def summarised(found: Sequence[Difference]) -> tuple[str, ...]:
    """One sentence a difference, those of operators in one graph alone counted together."""
    alone = [one for one in found if one.what == "operator"]
    sentences = []
    for side, kinds in (("A", [one.a for one in alone]), ("B", [one.b for one in alone])):
        counts = Counter(kind for kind in kinds if kind)
        if counts:
            listed = ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
            sentences.append(f"only in {side}: {listed}")
    return (*sentences, *(str(one) for one in found if one.what != "operator"))


def _steps(a: CanonicalGraph, b: CanonicalGraph) -> Iterator[Difference]:
    pairing = _Pairing(a.steps, b.steps)
    for tag, i0, i1, j0, j1 in pairing.blocks:
        if tag == "equal":
            for i, j in zip(range(i0, i1), range(j0, j1), strict=True):
                yield from _step(a, b, a.steps[i], b.steps[j], pairing)
            continue
        yield from (Difference("operator", s.name, s.operator, "") for s in a.steps[i0:i1])
        yield from (Difference("operator", s.name, "", s.operator) for s in b.steps[j0:j1])


def _step(
    a: CanonicalGraph, b: CanonicalGraph, step_a: Step, step_b: Step, pairing: _Pairing
) -> Iterator[Difference]:
    where = f"{step_a.operator} {step_a.name}"
    for key in sorted(step_a.attributes.keys() | step_b.attributes.keys()):
        pair = step_a.attributes.get(key, ""), step_b.attributes.get(key, "")
        if pair[0] != pair[1]:
            yield Difference(f"attribute {key}", where, *pair)
    if step_a.outputs != step_b.outputs:
        yield Difference("number of outputs", where, str(step_a.outputs), str(step_b.outputs))
    for index in range(max(len(step_a.inputs), len(step_b.inputs))):
        source_a, source_b = (
            s.inputs[index] if index < len(s.inputs) else Source("nothing")
            for s in (step_a, step_b)
        )
        if not pairing.same(source_a, source_b):
            what = f"{_kind(source_a, source_b)} of input {index}"
            yield Difference(what, where, _shown(source_a, a), _shown(source_b, b))


def _kind(a: Source, b: Source) -> str:
    if a.kind == b.kind == "constant":
        same_shape = a.text.partition(" = ")[0] == b.text.partition(" = ")[0]
        return "values" if same_shape else "shape"
    return "shape" if a.kind == b.kind == "trained" and a.text != b.text else "edge"


def _shown(source: Source, graph: CanonicalGraph) -> str:
    if source.kind != "step":
        return str(source)
    step = graph.steps[source.number]
    return f"{step.operator} {step.name} {source.text}".rstrip()


def _ends(a: CanonicalGraph, b: CanonicalGraph) -> Iterator[Difference]:
    pairing = _Pairing(a.steps, b.steps)
    for index, (source_a, source_b) in enumerate(zip(a.outputs, b.outputs, strict=False)):
        if not pairing.same(source_a, source_b):
            yield Difference("edge", f"output {index}", _shown(source_a, a), _shown(source_b, b))
    counts_a, counts_b = Counter(a.unused), Counter(b.unused)
    for operator in sorted({*counts_a, *counts_b}):
        if counts_a[operator] != counts_b[operator]:
            pair = str(counts_a[operator]), str(counts_b[operator])
            yield Difference("count of unused nodes", operator, *pair)
