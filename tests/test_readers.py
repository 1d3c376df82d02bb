"""No kind of file is opened by two roads with different guards: the table of CONTRIBUTING holds."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "artoolkit"
# Calls by which libraries open files, by their last name, and those that need the one before it.
OPENERS = frozenset(
    re.findall(
        r"\w+",
        """
    imread imdecode VideoCapture safe_open load_file load_model read_model import_model
    InferenceSession deserialize_cuda_engine File ZipFile loadmat fromfile memmap loadtxt
    genfromtxt ParseFromString loads safe_load full_load load_dataset load_from_disk
    walk rglob scandir listdir reader DictReader read_csv unpack_archive
""",
    )
)
LOADERS = frozenset(
    re.findall(
        r"\S+",
        """
    Image.open numpy.load torch.load torch.jit.load onnx.load onnx.load_model pickle.load
    json.load yaml.load tomllib.load tomli.load tomlkit.load joblib.load tarfile.open
""",
    )
)


def table() -> list[tuple[str, frozenset[str], tuple[str, ...]]]:
    """Kind of file, the modules that may open it, and the calls that open it."""
    text = (ROOT / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.partition("## Who reads what\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return [
        (kind.strip(), frozenset(re.findall(r"`([\w/]+\.py)`:", who)), tuple(
            re.findall(r"`([^`]+)`", calls)))
        for kind, who, calls in rows[1:]
    ]  # fmt: skip


def calls(source: str) -> Iterator[str]:
    """The dotted name of every call, under the library's own name where it has another here."""
    tree, names = ast.parse(source), dict[str, str]()
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                names |= {one.asname or one.name: one.name for one in node.names}
            case ast.ImportFrom(module=str(module)):
                names |= {one.asname or one.name: f"{module}.{one.name}" for one in node.names}
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if library := required(value):
                names[name] = library
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            parts, inner = [], node.func
            while isinstance(inner, ast.Attribute):
                parts.append(inner.attr)
                inner = inner.value
            first = inner.id if isinstance(inner, ast.Name) else required(inner)
            yield ".".join([names.get(first, first), *parts[::-1]])


def required(value: ast.expr) -> str:
    """`onnx` of `require("onnx", ...)`, which imports a library."""
    match value:
        case ast.Call(func=ast.Name(id="require"), args=[ast.Constant(value=str(library)), *_]):
            return library
    return ""


def is_named(call: str, name: str) -> bool:
    return call == name or call.endswith(f".{name}")


def opening(found: Iterable[str]) -> set[str]:
    """Those of the calls that open a file by a library."""
    return {
        call
        for call in found
        if call.rpartition(".")[2] in OPENERS or any(is_named(call, name) for name in LOADERS)
    }


@cache
def called() -> dict[str, frozenset[str]]:
    """Every call by module."""
    return {
        path.relative_to(PACKAGE).as_posix(): frozenset(calls(path.read_text(encoding="utf-8")))
        for path in PACKAGE.rglob("*.py")
    }


OWN_JSON = frozenset({
    "backends/onnxruntime/profile.py", "backends/tensorrt/layers.py", "cli/network_options.py",
    "commit.py", "data/prepare_nyuv2.py", "fresh_process.py", "training/recipe.py",
    "training/state.py",
})  # fmt: skip


def test_the_table_is_read() -> None:
    assert len(table()) >= 15
    assert all(modules and named for _, modules, named in table())


@pytest.mark.parametrize(("kind", "modules", "named"), table(), ids=[row[0] for row in table()])
def test_a_kind_of_file_is_opened_in_one_place(
    kind: str, modules: frozenset[str], named: tuple[str, ...]
) -> None:
    found = {
        module
        for module, made in called().items()
        if any(is_named(call, name) for call in made for name in named)
        if kind != "JSON" or module not in OWN_JSON
    }
    assert found == modules, f"{kind}: opened elsewhere too, or no more; correct code or table"


def test_no_library_opens_a_file_that_the_table_does_not_name() -> None:
    rows = table()
    unknown = {
        f"{module}: {call}"
        for module, made in called().items()
        for call in opening(made)
        if not (call == "json.loads" and module in OWN_JSON)
        if not any(
            module in modules and any(is_named(call, name) for name in named)
            for _, modules, named in rows
        )
    }
    assert not unknown, sorted(unknown)


@pytest.mark.parametrize(
    "source",
    [
        "import cv2; cv2.imread(path)",
        "from PIL import Image as I; I.open(path)",
        "import PIL.Image; PIL.Image.open(path)",
        "from torch import load; load(path)",
        "import torch as t; t.jit.load(path)",
        "library = require('onnx', 'a reason'); library.load(path)",
        "require('onnx', 'a reason').load(path)",
        "import numpy as np; np.load(path); np.fromfile(path)",
        "from safetensors.torch import load_file; load_file(path)",
        "import json\nwith open(path) as file: json.load(file)",
        "import csv\nfor row in csv.DictReader(file): pass",
        "def read(folder):\n return [*folder.rglob('*.png')]",
    ],
)
def test_a_second_reader_would_be_found(source: str) -> None:
    assert opening(calls(source))


@pytest.mark.parametrize(
    "source", ["from artoolkit import load; load(path)", "image.load()", "runner.open(model)",
               "# Image.open(path)", "hint = 'torch.load(FILE)'"],
)  # fmt: skip
def test_what_only_looks_like_one_is_none(source: str) -> None:
    assert not opening(calls(source))
