"""What `import artoolkit` offers: lazily, seen by type checkers, and with examples that run."""

from __future__ import annotations

import ast
import contextlib
import doctest
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from small_town import tiny_recipe

import artoolkit
from artoolkit.cost.latency_record import LatencySettings
from artoolkit.data.synthetic import synthesize

README = Path(__file__).parent.parent / "README.md"
FACE = tuple(name for name in artoolkit.__all__ if not name.startswith("__"))


def printed_by(script: str) -> object:
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_importing_it_imports_nothing_else() -> None:
    script = "import sys; before = set(sys.modules); import artoolkit, json; dir(artoolkit);"
    script += "print(json.dumps(sorted({n.partition('.')[0] for n in set(sys.modules) - before})))"
    found = printed_by(script)
    assert isinstance(found, list)
    assert set(found) - set(sys.stdlib_module_names) == {"artoolkit"}


def test_every_name_is_listed_and_seen_by_type_checkers() -> None:
    assert set(FACE) < set(dir(artoolkit))
    tree = ast.parse(Path(artoolkit.__file__).read_text())
    (guarded,) = (node for node in tree.body if isinstance(node, ast.If))
    imported = {
        alias.name: node.module
        for node in guarded.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert imported == artoolkit._HOMES
    assert set(imported) == set(FACE)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = artoolkit.trian  # type: ignore[attr-defined]


def test_a_missing_library_is_named_with_its_purpose() -> None:
    script = "import sys, json; sys.modules['torch'] = None; import artoolkit\n"
    script += "try: artoolkit.train\n"
    script += "except Exception as error: print(json.dumps([type(error).__name__, str(error)]))"
    kind, message = printed_by(script)  # type: ignore[misc]
    assert kind == "MissingLibraryError"
    assert message.startswith("artoolkit.train needs torch")
    assert 'pip install "artoolkit[train]"' in message


@dataclass
class Notebook:
    """A folder in which the README's Python section was run, and what that printed."""

    folder: Path
    printed: str
    loss: torch.Tensor


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notebook]:
    """On generated streets, with a network of seconds and a latency test of one."""
    section = README.read_text().split("\n## From Python\n")[1].split("\n## ")[0]
    loop, journey = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    scores = torch.randn(2, 19, 8, 16, requires_grad=True)
    around = {"scores": scores, "labels": torch.randint(0, 19, (2, 32, 64)), "cross_entropy": 1.0}
    exec(loop, around)
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.chdir(folder := tmp_path_factory.mktemp("notebook"))
        for module in ("artoolkit.exporting", "artoolkit.checks.compare"):
            patch.setattr(f"{module}.LatencySettings", lambda: LatencySettings(pairs=2, budget_s=1))
        synthesize(Path("streets"), train=4, val=2, size_hw=(64, 128))
        Path("tiny.toml").write_text(tiny_recipe(1))
        artoolkit.train("tiny.toml", dataset="cityscapes", data_root="streets", out="runs/base")
        exec(journey.replace("/data/cityscapes", "streets").replace("512, 1024", "64, 128"), {})
    yield Notebook(folder, printed.getvalue(), around["loss"])  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_python_section_of_the_readme_runs(notebook: Notebook) -> None:
    assert notebook.loss.item() > 1
    assert notebook.loss.requires_grad
    assert re.search(r"^graph PASS .", notebook.printed, re.MULTILINE)
    assert re.search(r"^accuracy [A-Z]+ .", notebook.printed, re.MULTILINE)
    assert notebook.printed.splitlines()[-1].split()[0] in ("PASS", "FAIL", "UNDECIDED")


@pytest.mark.slow
@pytest.mark.parametrize("name", FACE)
def test_the_example_of_each_name_runs(
    name: str, notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(notebook.folder)
    found = doctest.DocTestFinder(recurse=False).find(getattr(artoolkit, name), name, globs={})
    assert sum(len(test.examples) for test in found) > 0
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.REPORT_NDIFF)
    report: list[str] = []
    for test in found:
        runner.run(test, out=report.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(report)
