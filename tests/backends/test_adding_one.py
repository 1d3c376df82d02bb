"""A backend is a folder and one registration: the commands take it, and no other file is edited."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from click.testing import CliRunner
from tiny import tiny_bundle, write_tiny

from artoolkit import words
from artoolkit.backends import backend_for, backend_named, backend_names, register
from artoolkit.backends.backend import Backend, Model
from artoolkit.cli import main
from artoolkit.errors import BackendError, UnavailableError, UsageError
from artoolkit.evidence.bundle import Bundle, open_bundle

# All that is written for it: it answers with the reds of an image, and counts the ONNX file.
FILES = {
    "__init__.py": "from stone.backend import Stone as BACKEND",
    "runner.py": """
        import numpy as np
        from artoolkit.backends.runner import OpenRunner
        from artoolkit.spec import RunnerSpec, TensorSpec

        class StoneRunner(OpenRunner):
            def __init__(self, shape, device, weight):
                image = TensorSpec(name="image", dtype="uint8", shape=shape)
                labels = TensorSpec(name="labels", dtype="uint8", shape=shape[:3])
                super().__init__(RunnerSpec(
                    backend="stone", device=device, inputs=(image,), outputs=(labels,),
                    settings={"weight": weight},
                ))

            def _infer(self, feeds):
                return {"labels": feeds["image"][..., 0] % 3}

            def _release(self):
                pass
    """,
    "backend.py": """
        from dataclasses import dataclass
        from artoolkit.backends.backend import Backend, ProgramComparison, onnx_of
        from artoolkit.errors import UsageError
        from artoolkit.evidence.bundle import Bundle
        from artoolkit.graph.memory import onnx_memory
        from stone.runner import StoneRunner

        @dataclass(frozen=True)
        class Stone(Backend):
            weight: int = 1
            name, title, devices, default_device = "stone", "Stone", ("quarry",), "quarry:0"
            suffixes, abilities = (".stone",), {"run bundles on stones": ("stone",)}

            def open(self, model, *, device, threads=None, outputs=None):
                if not isinstance(model, Bundle):
                    raise UsageError("a stone runs bundles", got=model)
                target = model.manifest.target
                return StoneRunner((target.batch, *target.imgsz, 3), device, self.weight)

            def memory(self, model, *, device, threads=None):
                return "the stone's own count", onnx_memory(onnx_of(model))

            def compare_programs(
                self, baseline, candidate, *, device, trained=None, progress=None
            ):
                same = onnx_of(baseline).stat().st_size == onnx_of(candidate).stat().st_size
                return ProgramComparison(
                    result="PASS" if same else "FAIL", headline="two stones of one size",
                    numbers={"device": device},
                )
    """,
}
QUICK = ("--warmup-ms", "1")


@pytest.fixture
def stone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    package = tmp_path / "installed" / "stone"
    package.mkdir(parents=True)
    for name, text in FILES.items():
        (package / name).write_text(textwrap.dedent(text))
    monkeypatch.syspath_prepend(package.parent)
    register("stone", "stone")
    yield "stone"
    del words.BACKENDS["stone"]


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Bundle, Bundle]:
    one, other = (tiny_bundle(tmp_path / f"bundle{seed}", seed=seed) for seed in (0, 1))
    return one, other


def test_it_is_known_by_name_ending_and_option(stone: str, tmp_path: Path) -> None:
    assert backend_names()[-1] == stone
    assert backend_named(stone).name == stone
    assert backend_for(tmp_path / "granite.stone").name == stone
    assert backend_named(stone, weight=7) == backend_named(stone, weight=7)
    with pytest.raises(UsageError, match="stone has no option cuda_memory; got pycuda"):
        backend_named(stone, cuda_memory="pycuda")


def test_benchmark_measures_latency_memory_and_a_process_of_its_own(
    stone: str, pair: tuple[Bundle, Bundle]
) -> None:
    ran = CliRunner().invoke(
        main,
        ["benchmark", str(pair[0].path), "--backend", stone, *QUICK, "--duration-s", "0", "--json"],
        catch_exceptions=False,
    )
    assert ran.exit_code == 0, ran.output
    record = json.loads(ran.stdout)
    assert (record["runner"]["backend"], record["runner"]["device"]) == (stone, "quarry:0")
    assert record["runner"]["settings"] == {"weight": 1}
    assert record["components"]["weights_bytes"] > 0
    assert all(record["process"]["peak_bytes"]) and not record["process"]["torch_imported"]


def test_compare_asks_it_for_the_program_memory_latency_and_outputs(
    stone: str, pair: tuple[Bundle, Bundle], tmp_path: Path
) -> None:
    out = tmp_path / "verdict"
    ran = CliRunner().invoke(
        main,
        [
            "compare", *(str(bundle.path) for bundle in pair), "--backend", stone, *QUICK,
            "--device", "quarry:3", "--blocks", "2", "--budget-s", "1", "--out", str(out), "--json",
        ],
        catch_exceptions=False,
    )  # fmt: skip
    checks = {check["name"]: check for check in json.loads(ran.stdout)["checks"]}
    assert checks["program"]["result"] == "PASS", ran.output
    assert checks["program"]["headline"] == "two stones of one size"
    assert checks["program"]["numbers"] == {"device": "quarry:3"}
    assert checks["memory"]["result"] == "PASS"
    assert checks["latency"]["result"] != "UNAVAILABLE"
    assert checks["outputs"]["result"] == "FAIL", "a stone does not see what the network sees"
    memory = json.loads((out / "memory-candidate.json").read_text())
    assert memory["source"] == "the stone's own count" and all(memory["process"]["peak_bytes"])


def test_a_target_may_name_it_and_doctor_lists_it(stone: str, tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "for_stones", backend=stone, device="quarry:1")
    assert open_bundle(bundle.path).manifest.target.backend == stone
    ran = CliRunner().invoke(main, ["benchmark", str(bundle.path), *QUICK, "--no-memory"])
    assert ran.exit_code == 0 and "on stone quarry:1" in ran.stdout, ran.output
    doctor = json.loads(CliRunner().invoke(main, ["doctor", "--json"]).stdout)
    rows = {row["name"]: row for row in doctor["abilities"]}
    assert rows["run bundles on stones"]["available"]


def test_a_name_that_nobody_registered_is_wrong_usage(pair: tuple[Bundle, Bundle]) -> None:
    ran = CliRunner().invoke(main, ["benchmark", str(pair[0].path), "--backend", "stone"])
    assert ran.exit_code == UsageError.exit_code and "onnxruntime" in ran.stderr
    with pytest.raises(UsageError, match="no backend has this name; got stone; expected torch"):
        backend_named("stone")


def test_what_it_does_not_open_is_said_in_one_line(stone: str, tmp_path: Path) -> None:
    model = write_tiny(tmp_path / "m.onnx")
    ran = CliRunner().invoke(main, ["benchmark", str(model), "--backend", stone])
    assert ran.exit_code == UsageError.exit_code
    assert "a stone runs bundles" in ran.stderr and "Traceback" not in ran.output


def test_what_it_does_not_tell_is_unavailable(pair: tuple[Bundle, Bundle]) -> None:
    class Silent(Backend):
        name, title = "silent", "Silent"

        def open(self, model: Model, **how: Any) -> NoReturn:
            raise BackendError("nobody is here")

    with pytest.raises(UnavailableError, match="bytes by component"):
        Silent().memory(pair[0], device="cpu")
    with pytest.raises(UnavailableError, match="compiled programs"):
        Silent().compare_programs(*pair, device="cpu")
