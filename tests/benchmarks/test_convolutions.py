"""The cut holds every convolution and nothing else, and computes what the network computes."""

from __future__ import annotations

from pathlib import Path

import convolutions
import numpy as np
import onnx
import pytest
from deploy.tiny_network import Tiny, seeded_images, target, tiny_checkpoint

from artoolkit.backends.onnxruntime.session import open_session
from artoolkit.deploy.onnx import onnx_from_checkpoint
from artoolkit.networks import builder
from artoolkit.spec import SessionOptions

ONE = SessionOptions(threads=1)
IMAGE = seeded_images(1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    entry = builder.Entry(lambda num_classes, layout=None: Tiny(num_classes), {}, "for tests")
    path = tmp_path_factory.mktemp("cut") / "tiny.onnx"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(builder.NETWORKS, "tiny", entry)
        return onnx_from_checkpoint(tiny_checkpoint(), target(), path).path


def test_every_convolution_is_computed_and_no_other_operator(model: Path, tmp_path: Path) -> None:
    convolutions.convolutions_alone(model, IMAGE, tmp_path, ONE)()
    alone, whole = (
        onnx.load(tmp_path / name).graph for name in ("convolutions.onnx", "optimised.onnx")
    )
    assert len(alone.node) == len(convolutions.convolutions(whole)) == 4
    assert {node.op_type for node in alone.node} <= {"Conv", "FusedConv"}


def test_its_results_are_those_of_the_whole_network(model: Path, tmp_path: Path) -> None:
    convolutions.convolutions_alone(model, IMAGE, tmp_path, ONE)
    path, whole = tmp_path / "convolutions.onnx", onnx.load(tmp_path / "optimised.onnx")
    session = open_session(path, chosen=ONE).session
    feeds = convolutions.values_of(whole, [i.name for i in session.get_inputs()], IMAGE, tmp_path)
    names = [output.name for output in session.get_outputs()]
    expected = convolutions.values_of(whole, names, IMAGE, tmp_path)
    found = dict(zip(names, session.run(names, feeds), strict=True))
    assert set(found) == set(expected)
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-4, atol=1e-5)
