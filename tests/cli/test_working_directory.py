"""A json.py where the user stands is run by no verb, nor by a process that one starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from judged import judged_bundle
from small_town import tiny_recipe
from tiny import tiny_bundle

from artoolkit.cli import VERBS

# Modules that Python's own libraries import first in a process, and ours.
NAMES = ("json", "numpy", "pickle", "socket", "torch", "click", "artoolkit", "cv2", "pydantic",
         "onnx", "PIL", "rich", "signal", "struct", "tempfile", "random", "copy", "numbers",
         "onnxruntime", "tensorrt_rtx")  # fmt: skip
# As the installed command starts: its own folder is first on the path, not the user's.
PROGRAM = """
import json, multiprocessing, sys
from dataclasses import replace
if __name__ == "__main__":
    from artoolkit.backends.backend import ProgramComparison
    from artoolkit.backends.tensorrt import RTX
    from artoolkit.checks import memory
    from artoolkit.cli import quickstart, run
    multiprocessing.set_start_method("spawn")
    memory.PROCESS_RUNS = 1
    answer = ProgramComparison(result="UNAVAILABLE", headline="compared elsewhere")
    type(RTX).compare_programs = lambda *models, **how: answer
    less, more = json.loads(sys.argv[2])
    journey = quickstart.journey
    quickstart.journey = lambda out: [
        replace(step, arguments=(*(less.get(word, word) for word in step.arguments),
                                 *more.get(step.name, ())))
        for step in journey(out)
    ]
    print(json.dumps([run(arguments) for arguments in json.loads(sys.argv[1])]))
"""
STREET = ("--dataset", "cityscapes", "--data-root", "data")
SIZE, QUICK = ("--imgsz", "64", "128"), ("--budget-s", "1", "--blocks", "2")
BASE, FEW = ("--baseline", "base/model.safetensors"), ("--epochs", "1", "--workers", "0")
UNTRAINED = ("--untrained", "icnet", "--option", "width=0.125", "--num-classes", "3")
# Words of quickstart's journey, and what makes it as quick as it goes.
LESS = {"320": "4", "240": "2", "128": "64", "256": "128", "5": "1"}
MORE = {"export": QUICK, **dict.fromkeys(("ar", "control"), ("--workers", "0"))}
COMMANDS = (
    ("data", "synthesize", "data", "--train", "4", "--val", "4", "--workers", "2", *SIZE),
    ("train", "--recipe", "../tiny.toml", *STREET, "--workers", "1", "--out", "base"),
    ("finetune", *BASE, *STREET, *FEW, "--out", "ar"),
    (
        "experiment",
        *BASE,
        *STREET,
        *FEW,
        "--arms",
        "control",
        "--seeds",
        "1",
        "--out",
        "experiment",
    ),
    ("evaluate", "ar/model.safetensors", *STREET),
    ("export", *UNTRAINED, *SIZE, "--golden", "1", "--out", "exported"),
    ("build", "../rtx", "--compute-capability", "86"),
    ("benchmark", "../judged/bundle", "--duration-s", "0"),
    ("compare", "../judged/bundle", *QUICK),
    ("verify", "../judged/bundle"),
    ("log", "../judged/bundle"),
    ("delta", "../judged/base", "../judged/other", "--out", "delta.npz"),
    ("refit", "../judged/base", "delta.npz", "--out", "refitted"),
    ("sign", "--new-key", "key"),
    ("predict", "../judged/bundle", *STREET, "--out", "predictions"),
    ("report", "../judged/bundle", "base", "--out", "report.html"),
    ("weights", "list"),
    ("doctor",),
    ("ci", "github"),
    ("hub", "pull", "someone/bundle", "--out", "pulled"),
    ("recipes", "list"),
    ("targets", "list"),
    ("datasets", "list"),
    ("quickstart", "--out", "quick"),
)


@pytest.mark.slow
def test_no_verb_runs_a_module_from_the_working_directory(tmp_path: Path) -> None:
    assert {command[0] for command in COMMANDS} == VERBS.keys()
    here, program = tmp_path / "here", tmp_path / "program.py"
    here.mkdir()
    for name in NAMES:
        (here / f"{name}.py").write_text(f"open({str(tmp_path / 'RAN')!r}, 'a').write({name!r})")
    (tmp_path / "tiny.toml").write_text(tiny_recipe(1))
    tiny_bundle(tmp_path / "rtx", name="rtx", backend="tensorrt-rtx", device="cuda:0")
    judged_bundle(tmp_path / "judged")
    program.write_text(PROGRAM)
    done = subprocess.run([sys.executable, program, json.dumps(COMMANDS), json.dumps([LESS, MORE])],
                          cwd=here, capture_output=True, text=True, check=False,
                          env=os.environ | {"HF_ENDPOINT": "http://127.0.0.1:9"})  # fmt: skip
    assert not (tmp_path / "RAN").exists(), (tmp_path / "RAN").read_text()
    codes = json.loads(done.stdout.splitlines()[-1])
    # An answer of any kind; the library that builds may be missing, and nobody serves the hub.
    fine = [("build", 8), ("hub", 8), ("hub", 14)]
    failed = [line for line, code in zip(COMMANDS, codes, strict=True)
              if code not in (0, 1, 3) and (line[0], code) not in fine]  # fmt: skip
    assert not failed, done.stderr


@pytest.mark.parametrize("name", ["json", "click"])
def test_python_m_looks_there_last(name: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.py").write_text("raise SystemExit('it was run')")
    done = subprocess.run([sys.executable, "-m", "artoolkit", "weights", "list"],
                          cwd=tmp_path, capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
