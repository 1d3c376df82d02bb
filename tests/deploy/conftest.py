"""`build("tiny")`, and each export of it made once."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
import pytest

from artoolkit.deploy import export, quantize
from artoolkit.deploy.onnx import OnnxInfo, graph_from_checkpoint, onnx_from_checkpoint
from artoolkit.networks import builder
from artoolkit.networks.checkpoint import Checkpoint
from artoolkit.spec import Target
from deploy.tiny_network import Exporter, Tiny, target, tiny_checkpoint


@pytest.fixture(scope="session", autouse=True)
def tiny_network() -> Iterator[None]:
    """`build("tiny")` for these tests."""
    with pytest.MonkeyPatch.context() as patch:
        entry = builder.Entry(lambda num_classes, layout=None: Tiny(num_classes), {}, "for tests")
        patch.setitem(builder.NETWORKS, "tiny", entry)
        yield


@pytest.fixture(scope="session", autouse=True)
def one_export_each() -> Iterator[None]:
    """Bundles and quantizers take a graph that was exported before, of equal weights and target."""
    made: dict[tuple[bytes, str], tuple[onnx.ModelProto, tuple[str, ...]]] = {}

    def graph(checkpoint: Checkpoint, wanted: Target) -> tuple[onnx.ModelProto, tuple[str, ...]]:
        state = b"".join(value.numpy().tobytes() for value in checkpoint.state.values())
        key = state, wanted.model_dump_json(exclude={"name", "threads", "session", "margins"})
        if key not in made:
            made[key] = graph_from_checkpoint(checkpoint, wanted)
        model, trained = made[key]
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        return copy, trained

    with pytest.MonkeyPatch.context() as patch:
        for module in (export, quantize):
            patch.setattr(module, "graph_from_checkpoint", graph)
        yield


@pytest.fixture(scope="session")
def exporter(tmp_path_factory: pytest.TempPathFactory) -> Exporter:
    """`onnx_from_checkpoint` that makes each file once: exports are the slow part."""
    made: dict[str, OnnxInfo] = {}
    folder = tmp_path_factory.mktemp("onnx")

    def exported(seed: int = 0, **changes: object) -> OnnxInfo:
        key = f"{seed}-{sorted(changes.items())}"
        if key not in made:
            path = folder / f"{len(made)}.onnx"
            made[key] = onnx_from_checkpoint(tiny_checkpoint(seed), target(**changes), path)
        return made[key]

    return exported
