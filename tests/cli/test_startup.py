"""What starts quickly imports little: the modules are listed, since times differ by machine."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

import pytest
from tiny import tiny_bundle

from artoolkit.cli import VERBS
from artoolkit.evidence.bundle import Bundle

TRAINING = {"torch", "onnx", "onnxscript", "scipy", "matplotlib", "cv2", "h5py", "jinja2"}
COMMANDS = """
import json, sys
before = set(sys.modules)
from artoolkit.cli import run
codes = [run(arguments) for arguments in json.loads(sys.argv[1])]
roots = {name.partition(".")[0] for name in set(sys.modules) - before}
print(json.dumps([codes, sorted(roots - sys.stdlib_module_names)]), file=sys.stderr)
"""


def imported_by(*commands: Sequence[str]) -> set[str]:
    """Packages outside the standard library that these commands import, in one new process."""
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, json.dumps(commands)],
        capture_output=True,
        text=True,
        check=True,
    )
    codes, packages = json.loads(done.stderr.splitlines()[-1])
    assert codes == [0] * len(commands)
    return set(packages)


def test_help_needs_click_alone() -> None:
    assert imported_by(["--help"], ["--version"]) == {"artoolkit", "click"}


def test_the_help_of_every_verb_needs_click_alone() -> None:
    assert imported_by(*([verb, "--help"] for verb in VERBS)) == {"artoolkit", "click"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_bundle(tmp_path_factory.mktemp("verified") / "bundle")


def test_verifying_a_bundle_imports_nothing_of_training(bundle: Bundle) -> None:
    packages = imported_by(["verify", str(bundle.path)])
    assert not packages & TRAINING
    assert {"numpy", "onnxruntime", "pydantic"} <= packages
