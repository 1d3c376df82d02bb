"""The latency suite: every form is a case, and what cannot run is in the table with its reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import latency
import pytest
import result_file
from click.testing import CliRunner
from latency import Form, forms, table
from result_file import ResultFile

from artoolkit.errors import BackendError
from artoolkit.evidence.records import read_record

pytest.importorskip("torch")


class Open:
    """An open network that answers at once."""

    def __enter__(self) -> Open:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def infer(self, images: Any) -> dict[str, Any]:
        return {"labels": images[..., 0]}


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing is exported, and there is no GPU."""

    def no_gpu(device: str) -> None:
        raise BackendError(f"no {device} here")

    monkeypatch.setattr(result_file, "RESULTS", tmp_path)
    monkeypatch.setattr(latency, "SIZES", ((64, 128),))
    monkeypatch.setattr(latency, "exported", lambda *_, **__: tmp_path / "none.onnx")
    monkeypatch.setattr(latency, "open_onnxruntime", lambda *_, **__: Open())
    monkeypatch.setattr(latency, "on_torch", lambda *_: Open())
    monkeypatch.setattr(latency, "open_cuda", no_gpu)
    return tmp_path


def seconds(case: float) -> dict[str, Any]:
    return {"seconds": {"case": [case, case], "reference": [1.0, 1.0]}}


def test_every_form_of_every_network_and_size_is_a_case() -> None:
    found = [form.name for form in forms(("icnet", "pspnet50"), latency.SIZES)]
    assert len(set(found)) == len(found) == 2 * 3 * len(latency.FORMS)
    assert "pspnet50 int8 dense, onnxruntime, 1024 x 2048" in found
    assert "icnet fp32 dense, tensorrt, 256 x 512" in found


def test_the_command_measures_what_runs_and_says_why_not_the_rest(quick: Path) -> None:
    ran = CliRunner().invoke(latency.main, ["--network", "icnet", "--seconds", "0"])
    assert ran.exit_code == 0, ran.output
    raw = read_record(quick / "latency--x86-2core--cpu.json", ResultFile).raw
    assert len(raw) == len(latency.FORMS)
    assert len(raw["icnet int8 dense, onnxruntime, 64 x 128"]["seconds"]["case"]) == 5
    assert raw["icnet fp32 dense, tensorrt, 64 x 128"] == {"unavailable": "no cuda:0 here"}
    *_, reason = table(raw)
    assert reason == (
        "* `onnxruntime cuda:0`, `torch cuda:0`, `tensorrt`, `tensorrt-rtx`, 4 cases: "
        "no cuda:0 here"
    )


def test_a_row_is_a_form_and_a_column_a_size() -> None:
    raw = {
        "other fp32 dense, onnxruntime, 256 x 512": seconds(9.0),
        "icnet fp32 dense, torch, 256 x 512": seconds(3.0),
        "icnet fp32 dense, onnxruntime, 1024 x 2048": seconds(1.01),
        "icnet fp32 dense, onnxruntime, 256 x 512": seconds(1.0),
        "icnet fp32 sparse, onnxruntime, 256 x 512": seconds(0.9) | {"computed_share": 0.123},
    }
    head, _, *rows = table(raw)
    assert head.endswith("| backend | 256 x 512 | 1024 x 2048 |")
    assert rows == [
        "| icnet fp32 dense | onnxruntime | 1.00 ± 0 % | 1.01 ± 0 % |",
        "| icnet fp32 dense | torch | 3.00 ± 0 % | - |",
        "| other fp32 dense | onnxruntime | 9.00 ± 0 % | - |",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("form", [("onnxruntime", "int8"), ("torch", "fp32")], ids=" ".join)
def test_a_form_is_really_timed(
    form: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("side_by_side.CALIBRATED_AT", (64, 128))
    found = latency.measured(Form("icnet", *form, (64, 128)), tmp_path, 0.0)
    assert all(len(times) == 5 and min(times) > 0 for times in found["seconds"].values())
