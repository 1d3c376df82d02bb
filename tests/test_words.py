"""The shared words are those that the code behind them knows, and cost no import."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from artoolkit import words
from artoolkit.backends import backend_named
from artoolkit.data import open_dataset
from artoolkit.networks.builder import LAYOUTS
from artoolkit.spec import RunnerSpec, Target
from artoolkit.training.arms import planned_runs


def test_words_import_nothing_outside_the_standard_library() -> None:
    script = "import sys, json, artoolkit.words; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert not loaded & {"click", "pydantic", "numpy", "torch"}


def test_every_word_has_what_it_names(tmp_path: Path) -> None:
    assert tuple(LAYOUTS) == words.LAYOUTS
    assert {words.CONTROL, *words.GRIDS} == set(words.ARMS)
    for name in set(words.DATASETS) - {"folder"}:
        assert open_dataset(name, tmp_path).name == name
    for name in words.BACKENDS:
        assert backend_named(name).name == name
    planned = planned_runs(words.ARMS, (5.0,), [1])
    assert [run.arm for run in planned] == list(words.ARMS)


def test_a_backend_is_known_everywhere_by_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = {"backend": "dummy", "device": "cpu", "inputs": (), "outputs": ()}
    with pytest.raises(ValidationError):
        RunnerSpec.model_validate(spec)
    monkeypatch.setitem(words.BACKENDS, "dummy", "dummy_backend")
    assert RunnerSpec.model_validate(spec).backend == "dummy"
    assert Target(name="one", imgsz=(64, 64), backend="dummy").backend == "dummy"
