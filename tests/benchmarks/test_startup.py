"""Start-up is counted in whole processes; what the committed file claims is checked here."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

import pytest
import startup
from result_file import RESULTS
from tiny import tiny_bundle

from artoolkit.errors import ArtoolkitError

EMPTY = startup.EMPTY


def test_import_times_are_summed_by_package() -> None:
    lines = [
        "import time: self [us] | cumulative | imported package",
        "import time:      1500 |       1500 |   numpy.core",
        "import time:       500 |       2000 | numpy",
        "import time:       250 |        250 | json.decoder",
        "a warning | that | passes by",
    ]
    assert startup.summed(lines) == {"numpy": 2.0, startup.STANDARD: 0.25}


def test_a_process_is_timed_and_its_failure_is_one_line() -> None:
    busy = "import sys; sum(range(2_000_000)); print('said', file=sys.stderr)"
    sample, lines = startup.process(sys.executable, "-c", busy)
    assert lines == ["said"]
    assert sample["wall_s"] > 0.01
    assert sample["cpu_s"] > 0.01
    with pytest.raises(ArtoolkitError, match=r"ended with code 3; got \['why'\]"):
        startup.process(sys.executable, "-c", "import sys; print('why', file=sys.stderr); exit(3)")


def test_help_is_timed_beside_an_empty_python(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = (EMPTY, startup.HELP)
    monkeypatch.setattr(startup, "COMMANDS", {name: startup.COMMANDS[name] for name in chosen})
    found = startup.timed_commands(rounds=1)
    assert {name: len(samples) for name, samples in found["samples"].items()} == {
        EMPTY: 1, startup.HELP: 1
    }  # fmt: skip
    assert found["packages"] == {startup.HELP: ["artoolkit", "click"]}
    assert {"artoolkit", "click", startup.STANDARD} <= found["imports_ms"][startup.HELP].keys()


def test_verify_shows_its_inference_apart(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "bundle")
    found = startup.timed_verify(bundle.path, rounds=1)
    (name,) = found["packages"]
    assert name == "artoolkit verify, tiny 16x24"
    (sample,) = found["samples"][name]
    assert 0 < sample["inference_s"] < sample["wall_s"]
    assert "torch" not in found["packages"][name]
    assert found["imports_ms"][name]["numpy"] > 0
    assert found["bundle_bytes"] > bundle.model.stat().st_size


def test_the_table_shows_medians_inference_and_what_is_imported() -> None:
    empty = [{"wall_s": s, "cpu_s": 0.01} for s in (0.02, 0.02, 0.04)]
    verify = [{"wall_s": w, "cpu_s": 0.9, "inference_s": 0.25} for w in (1.0, 1.1, 1.2)]
    raw = {
        "bundle b": {
            "samples": {EMPTY: empty, "artoolkit verify, icnet 2x4": verify},
            "packages": {"artoolkit verify, icnet 2x4": ["click", "numpy"]},
            "imports_ms": {"artoolkit verify, icnet 2x4": {"click": 10.4, "numpy": 20.2}},
        },
        "commands": {
            "samples": {EMPTY: empty, startup.HELP: empty},
            "packages": {startup.HELP: ["artoolkit", "torch"]},
            "imports_ms": {},
        },
        "gone": {"unavailable": "no bundle"},
    }
    raw["commands"]["samples"] |= dict.fromkeys(startup.COMMANDS, empty)
    lines = startup.table(raw)
    assert lines[2] == f"| `{EMPTY}` | 0.020 | - | 0.020 | 0.010 | 1.0 | - |"
    assert lines[4].endswith("| artoolkit, torch; with torch |")
    assert lines[-1] == (
        "| `artoolkit verify, icnet 2x4` | 1.100 | 0.250 | 0.850 | 0.900 | 50.0 | "
        "2 packages in 31 ms (numpy 20 ms, click 10 ms); no torch |"
    )


@pytest.mark.parametrize("path", sorted(RESULTS.glob("startup--*.json")), ids=lambda p: p.name)
def test_the_committed_times_hold_what_is_promised(path: Path) -> None:
    raw = json.loads(path.read_text())["raw"]
    help_s = statistics.median(s["wall_s"] for s in raw["commands"]["samples"][startup.HELP])
    assert help_s < 0.15
    for values in raw.values():
        for name, samples in values["samples"].items():
            if name.startswith("artoolkit verify,"):
                assert statistics.median(s["wall_s"] - s["inference_s"] for s in samples) < 2
                assert "torch" not in values["packages"][name]
