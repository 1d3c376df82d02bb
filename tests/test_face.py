"""What `import artoolkit` offers: lazily, seen by type checkers, and with examples that run."""

from __future__ import annotations

import ast
import doctest
import json
import subprocess
import sys
from pathlib import Path

import pytest
from small_town import tiny_recipe

import artoolkit
from artoolkit.data.synthetic import synthesize

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


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with generated streets, a recipe of seconds, and what it gives."""
    folder = tmp_path_factory.mktemp("notebook")
    synthesize(folder / "streets", train=4, val=2, size_hw=(64, 128))
    (folder / "tiny.toml").write_text(tiny_recipe(1))
    artoolkit.train(folder / "tiny.toml", dataset="cityscapes", data_root=folder / "streets",
                    out=folder / "runs" / "base", workers=0)  # fmt: skip
    artoolkit.finetune(folder / "runs" / "base" / "model.safetensors", out=folder / "runs" / "ar",
                       data_root=folder / "streets", workers=0)  # fmt: skip
    return folder


@pytest.mark.parametrize("name", FACE)
def test_the_example_of_each_name_runs(
    name: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    found = doctest.DocTestFinder(recurse=False).find(getattr(artoolkit, name), name, globs={})
    assert sum(len(test.examples) for test in found) > 0
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.REPORT_NDIFF)
    report: list[str] = []
    for test in found:
        runner.run(test, out=report.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(report)
