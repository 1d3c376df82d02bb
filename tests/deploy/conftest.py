"""`build("tiny")`, and each export of it made once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from artoolkit.deploy.onnx import OnnxInfo, onnx_from_checkpoint
from artoolkit.networks import builder
from deploy.tiny_network import Exporter, Tiny, target, tiny_checkpoint


@pytest.fixture(scope="session", autouse=True)
def tiny_network() -> Iterator[None]:
    """`build("tiny")` for these tests."""
    with pytest.MonkeyPatch.context() as patch:
        entry = builder.Entry(lambda num_classes, layout=None: Tiny(num_classes), {}, "for tests")
        patch.setitem(builder.NETWORKS, "tiny", entry)
        yield


@pytest.fixture(scope="session")
def exporter(tmp_path_factory: pytest.TempPathFactory) -> Exporter:
    """`onnx_from_checkpoint` that makes each file once: exports are the slow part."""
    made: dict[str, OnnxInfo] = {}
    folder = tmp_path_factory.mktemp("onnx")

    def export(seed: int = 0, **changes: object) -> OnnxInfo:
        key = f"{seed}-{sorted(changes.items())}"
        if key not in made:
            path = folder / f"{len(made)}.onnx"
            made[key] = onnx_from_checkpoint(tiny_checkpoint(seed), target(**changes), path)
        return made[key]

    return export
