"""OpenVINO beside ONNX Runtime, on a tiny graph in the place of every network."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import intel_cpu
import numpy as np
import plots
import pytest
from tiny import HEIGHT, LABELS, WIDTH, write_tiny

from artoolkit.backends.openvino.loader import computes
from artoolkit.errors import MissingLibraryError
from artoolkit.optional import is_installed

pytestmark = pytest.mark.skipif(
    not (is_installed("openvino") and computes("cpu", "bf16")), reason="no bf16 in OpenVINO here"
)


class TinyGraphs(intel_cpu.Graphs):
    def of(self, network: str, precision: str) -> Path:
        return self.folder / "tiny.onnx"

    def nncf(self) -> Path:
        raise MissingLibraryError("nncf is not installed")


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> intel_cpu.Graphs:
    folder = tmp_path_factory.mktemp("graphs")
    write_tiny(folder / "tiny.onnx")
    trained = SimpleNamespace(meta=SimpleNamespace(labels=LABELS))
    return TinyGraphs(folder, trained, images(), (HEIGHT, WIDTH), folder)  # type: ignore[arg-type]


def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, HEIGHT, WIDTH, 3)).astype(np.uint8)


def test_every_case_has_a_row_in_the_table(
    graphs: intel_cpu.Graphs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intel_cpu, "ROUNDS", {"least": 1, "most": 1})
    monkeypatch.setattr("side_by_side.PAUSE_S", 0.0)
    monkeypatch.setattr(intel_cpu, "FRAMES", 2)
    raw = {
        "icnet": intel_cpu.icnet_forms(graphs, images(), 0.0),
        "icnet int8 + bf16": intel_cpu.icnet_parts(graphs, images(), "int8"),
        "pidnet_s": intel_cpu.equal(graphs, "pidnet_s", images(), 0.0),
        "predict": intel_cpu.end_to_end(graphs, images(), 0.0),
        "a peer": {"unavailable": "not installed"},
    }
    assert raw["icnet"]["agreement"]["OpenVINO fp32"] == 1
    assert raw["icnet"]["agreement"][intel_cpu.BF16] > 0.97
    assert intel_cpu.NNCF not in raw["icnet"]["seconds"]
    assert len(raw["icnet int8 + bf16"]["float_convolutions"]) == 1
    assert raw["icnet int8 + bf16"]["parts_ms"][intel_cpu.CONVOLUTIONS] > 0
    assert len(list((graphs.folder / "labels" / "labels").iterdir())) == intel_cpu.FRAMES
    lines = intel_cpu.table(raw)
    for form in (*raw["icnet"]["seconds"], intel_cpu.INT8):
        assert any(f"| {form} |" in line for line in lines)
    assert lines[-1] == "Not measured: a peer. not installed"
    drawn = plots.description(plots.intel_cpu_plot(raw))
    assert f"icnet: {intel_cpu.BF16}: " in drawn and "a peer" not in drawn
