"""REFIT on a faked GPU: engines take the weights of another bundle, and say so in their record."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from engine_bundles import LABELS, SIZE_HW, tiny_target
from fake_gpu import FakeCuda, FakeLogger, FakeTensorrt
from sidecars import write_plan
from tiny_networks import TRAINED, write_tiny

from artoolkit.backends.tensorrt.refit import refit_engines
from artoolkit.backends.tensorrt.runner import open_tensorrt
from artoolkit.backends.tensorrt.sidecar import plans, read_sidecar
from artoolkit.cli import main
from artoolkit.errors import EngineError
from artoolkit.evidence.bundle import Bundle, write_bundle
from artoolkit.evidence.contents import file_problems
from artoolkit.evidence.delta import write_delta
from artoolkit.graph.onnx_file import load_onnx
from artoolkit.preprocess import Preprocess

TARGET = tiny_target("jetson-orin-nx")


class RefitTensorrt(FakeTensorrt):
    """A TensorRT whose engines hold the ONNX file that they were refitted with."""

    def _engine(self, logger: Any) -> Any:
        engine = super()._engine(logger)
        engine.content, engine.flags = b"as built", []
        engine.create_serialization_config = lambda: SimpleNamespace(set_flag=engine.flags.append)
        engine.serialize_with_config = lambda config: engine.content
        return engine

    @property
    def SerializationFlag(self) -> Any:
        return SimpleNamespace(**self.faults.get("serialization", {}))

    def Refitter(self, engine: Any, logger: Any) -> Any:
        return SimpleNamespace(
            engine=engine, refit_cuda_engine=lambda: "weights" not in self.faults
        )

    def OnnxParserRefitter(self, refitter: Any, logger: Any) -> Any:
        def refit(onnx: bytes) -> bool:
            if self.faults.get("weights"):
                logger.log(FakeLogger.ERROR, self.faults["weights"])
            refitter.engine.content = onnx
            return True

        return SimpleNamespace(refit_from_bytes=refit)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    def install(**faults: Any) -> tuple[FakeCuda, RefitTensorrt]:
        cuda = FakeCuda()
        trt = RefitTensorrt(cuda, **faults)
        monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", cuda)
        monkeypatch.setitem(sys.modules, "tensorrt", trt)
        return cuda, trt

    return install


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Bundle, Bundle]:
    """Two bundles of one program; the faked engine gives the golden labels of both."""
    images = np.random.default_rng(0).integers(0, 256, (1, *SIZE_HW, 3), dtype=np.uint8)
    bundles = [
        write_bundle(
            tmp_path / f"bundle{seed}",
            model=write_tiny(tmp_path / f"model{seed}.onnx", seed=seed, size_hw=SIZE_HW),
            golden_images=images, golden_labels=images[..., 0] % 4, network="tiny", labels=LABELS,
            preprocess=Preprocess(), target=TARGET, trained=TRAINED, provenance={},
        )
        for seed in (0, 1)
    ]  # fmt: skip
    return bundles[0], bundles[1]


def refittable(bundle: Bundle, **changes: Any) -> Path:
    return write_plan(
        bundle, name="a-refittable", options={"refittable": True}, flags=("REFIT",),
        forms=TARGET.forms, **changes,
    )  # fmt: skip


def test_only_refittable_engines_take_the_weights_and_their_record_says_so(gpu, pair):
    cuda, _ = gpu(serialization={"INCLUDE_REFIT": "stays"})
    held, made = pair
    plan = refittable(held)
    plain = write_plan(held, name="a.plain")
    assert plans(held) == (plain, plan)
    (engine,) = refit_engines(held, made)
    assert engine.plan == made.engines / "a-refittable.plan"
    given = load_onnx(made.model, "a test").graph
    there = engine.plan.read_bytes()
    assert given.initializer[0].raw_data in there and there != plan.read_bytes()
    assert sorted(p.name for p in made.engines.iterdir()) == ["a-refittable.json", plan.name]
    assert read_sidecar(engine.plan).refitted_from == read_sidecar(plan).plan_sha256
    assert file_problems(made.path) == []
    assert not cuda.memory and not cuda.streams
    with open_tensorrt(made) as runner:
        assert runner.spec.settings["flags"] == ["REFIT"]
        assert runner.spec.settings["refitted_from"] == read_sidecar(plan).plan_sha256
    with open_tensorrt(held) as runner:  # the other engine, which may be faster
        assert runner.spec.settings["plan"] == plain.name
        assert runner.spec.settings["refitted_from"] is None


def test_an_engine_that_refuses_the_weights_or_is_another_machines_is_one_line(gpu, pair):
    held, made = pair
    refittable(held)
    gpu(weights="missing conv.weight")
    with pytest.raises(EngineError, match="does not take these weights: missing conv"):
        refit_engines(held, made)
    refittable(held, gpu="Thor", compute_capabilities=("110",))
    gpu()
    with pytest.raises(EngineError, match="was built for Thor"):
        refit_engines(held, made)
    assert list(made.engines.iterdir()) == []


def test_the_command_makes_bundle_and_engine_and_replays_the_golden_images(gpu, pair, tmp_path):
    gpu()
    held, made = pair
    write_delta(held.path, made.path, tmp_path / "delta.npz")
    arguments = ["refit", str(held.path), str(tmp_path / "delta.npz"), "--out"]
    result = CliRunner().invoke(main, [*arguments, str(tmp_path / "first")])
    assert result.exit_code == 0, result.output
    assert "no engine to refit: artoolkit build" in result.output
    refittable(held)
    result = CliRunner().invoke(main, [*arguments, str(tmp_path / "second")])
    assert result.exit_code == 0, result.output
    assert "a-refittable.plan, refitted in" in result.output
    assert "golden replay" in result.output
    assert (tmp_path / "second" / "model.onnx").read_bytes() == made.model.read_bytes()
